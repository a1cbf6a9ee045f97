"""The logs that are followed: each is a Follower (`follower.py`)."""
