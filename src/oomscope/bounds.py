"""Every bound of oomscope, in one place: how much of an input is read at once, kept, and believed.

An input of 10 MB, unpacked, is answered in 10 s and 500 MiB whatever is in it; a longer one in line with its length.
What is beyond a bound is counted and told, never dropped in silence. docs/reliability.md has this table with what
happens there, and a test holds the two together.
"""

from __future__ import annotations

# --- bytes

HEAD_BYTES = 1 << 20  # an input's beginning, by which it is recognised
LINE_BYTES = 1 << 16  # a longer line is of no text that a kernel prints: read past, never held
# kernel/printk prints 1 KiB at most, PREFIX_MAX and LOG_LINE_MAX; a collector's own prefix comes on top, and one that
# writes a message of several lines into one, too.
LOG_LINE_BYTES = 1 << 14
JOURNAL_LINES = 5_000_000  # the last of a binary journal, as journalctl is asked for them
JOINED_LINE_BYTES = 1 << 13  # a line of a log that is put together again from its pieces
RECORD_BYTES = 1 << 16  # a record of page_owner
MANIFEST_BYTES = 4 << 20
CRASH_FINDINGS_BYTES = 64 << 20  # vmcore-oom.json
REORDERED_LOG_BYTES = 64 << 20  # a pstore dump that is turned round: beyond, it stays as it is
SECTION_BYTES = 64 << 20  # a section of Android's bugreport
SPOOL_BYTES = 16 << 20  # what is kept in memory of an archive that has to be searched; beyond, on disk

# --- what unpacks to more than it takes

# page_owner's text of one stack alone expands 192 times, a log of like lines some hundred.
FREE_EXPANSION_BYTES = 64 << 20
STREAM_EXPANSION = 2_000
ARCHIVE_EXPANSION = 300
ARCHIVE_FREE_BYTES = 256 << 20
ARCHIVE_BYTES = 64 << 30
ARCHIVE_MEMBERS = 20_000
ARCHIVE_DEPTH = 3
ARCHIVE_HEADER_BYTES = 1 << 20  # a member's long name, and what else a tar tells of it
ARCHIVE_GLOBAL_HEADERS = 1_000  # of a tar: each member gets a copy of them
SPARSE_PIECES = 10_000  # of a member of a tar
ZIP_DIRECTORY_BYTES = 32 << 20
FOLDER_FILES = 10_000

# --- what is kept of one input

STACKS = 2_000_000
STACK_FRAMES = 256
FRAMES_REMEMBERED = 1 << 19  # distinct lines of stacks, as TEXTS
TEXTS = 1 << 16  # distinct texts whose meaning is remembered; then all are forgotten: slower, not larger
NAMES = 200_000  # rows of an account: caches, call sites, callers, buffers, modules
ZONES = 4_096  # MAX_NUMNODES is 1,024, each with four zones that can have memory

# --- what is kept of a log

EVENTS = 2_000  # the last ones
OPEN_EVENTS = 64  # printed by as many callers at once
EVENT_LINES = 600  # of no known form in a row, then the event is over
EVENT_LINES_AFTER_END = 40
EVENT_LINES_PASSED = 5_000  # in a row, of known forms that say nothing of memory: traces, registers, modules
TASKS = 100_000  # rows of one event's task table
TASKS_OF_LOG = 500_000  # of all its events together: earlier ones keep their greatest only
TASKS_OF_EARLIER = 20
VICTIMS = 10_000
EVENT_ROWS = 10_000  # rows of any other table of an event
EVENT_NAMES = 1_000  # counters, fields of a zone, keys of memory.stat
QUOTED_LINES = 2_000  # lines of an event that a finding may quote
LOG_STACK_FRAMES = 64
UNKNOWN_LINES_KEPT = 50

# --- what is believed

# 52 bits of physical address in pages of 4 KiB, and a margin: what is larger is damage, not memory. Two million such
# stacks still add up within 63 bits.
ROW_BYTES = 1 << 53  # bytes in one row of an account: 8 PiB
PAGES = 1 << 41
ORDER = 22  # the largest on any architecture: 16 GiB of huge page in pages of 4 KiB
DIGITS = 20  # of a number that has 64 bits
AMOUNT = 1 << 62  # beyond, a number of a log is an underflow or a sentinel

# --- time

CASE_TIMEOUT_S = 120  # one case of a triage
