"""Where incidents go: each outlet (`outlet.py`) has a queue and a thread of its own, so that none waits for another."""
