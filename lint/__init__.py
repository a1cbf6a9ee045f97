"""Checks of our own, beside ruff's and mypy's."""
