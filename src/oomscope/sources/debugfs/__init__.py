"""Accounts below /sys/kernel/debug: one file here for each file there."""
