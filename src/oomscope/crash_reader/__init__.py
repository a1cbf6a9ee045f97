"""What reads a dead kernel's memory from its crash kernel: the standard library alone, in a few megabytes.

It runs where there is no oomscope: `host/kdump/tree.py` copies these files into the crash kernel's initramfs, with a
plan (`host/kdump/plan.py`) of everything that takes types and symbols to work out. Nothing here imports the rest of
oomscope, and nothing but plain modules of Python.
"""
