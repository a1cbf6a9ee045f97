"""`oomscope watch`: every OOM of a living machine is explained when it happens, and passed on."""
