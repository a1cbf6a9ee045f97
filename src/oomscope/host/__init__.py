"""This machine: what its kernel offers, what it leaves behind, and what oomscope switches on in it."""
