"""Accounts below /sys: one file here for each file there."""
