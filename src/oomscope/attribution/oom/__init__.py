"""An OOM event added up: the request, the zones, every page of RAM."""
