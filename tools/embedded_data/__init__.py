"""Makes the embedded task pack and the pretraining pool from pinned, freely licensed packages.

fonts     finds font faces and decides which families belong to train, val, test
glyphs    renders one character as a small mask
maps      world maps, split into blocks, and their terrain classes
splits    draws and selects the examples of one split without duplicates
task      what a task is, and the inputs of all tasks
image_tasks, glyph_tasks
          the tasks of real images and of rendered characters
tasks     the eight tasks of the embedded suite
pool      the images on which the base model is pretrained
pack      what both files say about themselves
"""
