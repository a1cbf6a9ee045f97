"""The crash kernel made to answer: its plan, its files, and where each distribution's kdump calls it."""
