"""The task table (mm/oom_kill.c dump_tasks()): columns by its header."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.oom_event import Process, own_pages
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection
from oomscope.text import printable

_COMM_BYTES = 15  # TASK_COMM_LEN - 1
_TASKS_TITLE = re.compile(rb"Tasks state \(memory values in pages\):")
TASKS_HEAD = re.compile(rb"\[ *pid *\] +(?P<columns>uid +tgid +total_vm.{0,400}name)\s*$")
_TASK_NUMBER = re.compile(rb"-?\d{1,20}")
_TASK = re.compile(rb"\[ *(?P<pid>\d{1,9})\] +(?P<rest>\d.*)$")
_TASK_COLUMNS_MOST = 20
# A row whose table's head is cut off: the pid is its thread group's, too.
ROW_ALONE = re.compile(
    rb"\[ *(?P<pid>\d{1,9})\] +\d{1,10} +(?P=pid) +(?P<numbers>\d{1,18} +\d{1,18} +\d{1,18} +"
    rb"(?:\d{1,18} +){0,5})-?\d{1,4} +"
    rb"[^\s\d\[].{0,40}$"
)
_PAGE_BYTES = 4096
_SIGNED = ("oom_adj", "oom_score_adj")
# By how many numbers stand between the thread group and oom_score_adj: the tables of 4.19 and later, and of 4.0 and
# later; those of 6.8 and later tell what is shared.
_COLUMNS_BY_COUNT = {
    4: ("total_vm", "rss", "pgtables_bytes", "swapents"),
    5: ("total_vm", "rss", "nr_ptes", "nr_pmds", "swapents"),
    7: ("total_vm", "rss", "rss_anon", "rss_file", "rss_shmem", "pgtables_bytes", "swapents"),
}


class Tasks(ReportSection):
    """Processes in their order."""

    __slots__ = ("_columns", "processes")
    first_bytes = b"T["

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self.processes: list[Process] = []
        self._columns: list[str] = []

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        if _TASKS_TITLE.match(text) is not None:
            return True
        head = TASKS_HEAD.match(text)
        if head is not None:
            self._columns = head["columns"].decode(errors="replace").split()[:_TASK_COLUMNS_MOST]
            self.draft.section = "tasks"
            self.draft.at("task table", number, text)
            return True
        if not self._columns and (alone := ROW_ALONE.match(text)) is not None:
            self._columns = _guessed(alone["numbers"].split())
            self.draft.section = "tasks"
        match = _TASK.match(text) if self._columns else None
        if match is None:
            return False
        self.draft.remember(text)
        words = match["rest"].split(None, len(self._columns) - 1)
        if len(words) == len(self._columns):
            values = {}
            for name, word in zip(self._columns[:-1], words, strict=False):
                is_number = word.isdigit() or _TASK_NUMBER.fullmatch(word) is not None
                value = self.draft.number(word, text) if is_number else None
                if value is not None and (name in _SIGNED or 0 <= value <= bounds.PAGES):
                    values[name] = value
            comm = words[-1].strip()
            comm = comm if len(comm) <= _COMM_BYTES else comm.split()[0][:_COMM_BYTES]
            if "rss" in values and self.draft.has_room("tasks", self.processes, bounds.TASKS):
                self.processes.append(Process(int(match["pid"]), printable(comm), values, number))
        return True

    def keep_greatest(self, most: int) -> None:
        """Let all but the greatest rows of the task table go."""
        if len(self.processes) > most:
            self.draft.left_out["tasks"] = self.draft.left_out.get("tasks", 0) + len(self.processes) - most
            self.processes = sorted(self.processes, key=lambda process: -own_pages(process))[:most]


def _guessed(numbers: list[bytes]) -> list[str]:
    """The columns of a table whose head is cut off; empty where they cannot be told."""
    names = _COLUMNS_BY_COUNT.get(len(numbers), ())
    tables, rss = int(numbers[2]), int(numbers[1])
    if len(numbers) == len(_COLUMNS_BY_COUNT[4]) and (tables % _PAGE_BYTES or (rss and not tables)):
        names = ("total_vm", "rss", "?", "??")  # up to 4.18, of several forms
    return ["uid", "tgid", *names, "oom_score_adj", "name"] if names else []
