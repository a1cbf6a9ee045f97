"""Text of page_owner: its records, its counts per stack, and what the tool of the kernel makes of them."""
