"""The systemd journal's own files."""
