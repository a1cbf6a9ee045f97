"""Inputs that nobody prints: real ones, damaged by chance, given to everything that reads (docs/reliability.md)."""
