"""The files that the makers of data write: task packs, pretraining pools (docs/packs.md).

stable     hashes and random streams that never depend on the machine
sources    downloads, checks and unpacks the pinned packages that data are made of
hdf5       HDF5 files that are equal byte for byte when their content is
recompress fewer bytes for a pack that is committed
tokens     rows of token ids, and the table from ids to bytes
task_pack  task packs: what one is, writing, reading and checking
pretraining_pool
           pretraining pools, of images and of text
command    what the commands that make files have in common
"""
