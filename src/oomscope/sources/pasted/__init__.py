"""Text that people paste: accounts of several kinds, and a kernel log, between prompts, fences, quotes and prose."""
