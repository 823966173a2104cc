"""Thirty tasks of small images, made of those of data/embedded.h5."""
