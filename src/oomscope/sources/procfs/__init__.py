"""Accounts below /proc: one file here for each file there."""
