"""The OOM report and its relatives (mm/oom_kill.c, mm/show_mem.c, mm/page_alloc.c, mm/memcontrol.c), a section a file.

One tolerant grammar for all kernels from 2.6.32 on: a line is known by its own form, fields by their printed names, the
task table by its header. `docs/formats/oom_report.md` lists the forms by release. A line goes to the sections that it
can be of by its first byte (assembler.py); what is of no known form is kept and counted, what is missing stays missing.
"""

from __future__ import annotations
