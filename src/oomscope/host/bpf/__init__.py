"""The program that runs on the kernel's OOM path, and what puts it there and takes it away.

It shares with the rest of oomscope the text it prints, which `sources` reads back, and the map's layout in `model`.
"""
