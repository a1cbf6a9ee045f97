"""Thousands of cases: found, explained one by one as `explain` does it, and put together."""
