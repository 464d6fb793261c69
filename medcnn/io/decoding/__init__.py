"""Compressed pixels: what a codestream says of itself, and codecs in a process that may die."""
