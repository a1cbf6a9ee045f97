"""`python -m oomscope`."""

from oomscope.cli import main

main()
