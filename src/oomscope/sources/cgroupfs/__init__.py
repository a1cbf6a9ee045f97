"""Files of a memory cgroup: what it uses, its limit, and what fills it (mm/memcontrol.c)."""
