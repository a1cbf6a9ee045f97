"""Where a report's lines go: straight into the kernel log, or into the trace buffer that panic() prints.

bpf_printk() writes to the trace buffer of ftrace's first instance. With tp_printk every line goes to the kernel log at
once; else panic() prints the buffer where kernel.ftrace_dump_on_oops says so (kernel/trace/trace.c), after the kdump
kernel was started, if there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from oomscope.errors import NotOffered
from oomscope.host.facts import Machine

# Per processor. A report of 16 stacks of 64 frames is less; the buffer is a few pages until somebody asks for more.
WANTED_BUFFER_KB = 256
DUMP = Path("/proc/sys/kernel/ftrace_dump_on_oops")
_EVENT = "events/bpf_trace/bpf_trace_printk/enable"
_OFF = ("", "0")


@dataclass(frozen=True, slots=True)
class Setting:
    """A file of the kernel's, what it said before, and what it is to say."""

    path: str
    before: str
    wanted: str


def prints_at_once(machine: Machine) -> bool:
    """Whether trace events go to the kernel log as they come (tp_printk)."""
    return machine.text("/proc/sys/kernel/tracepoint_printk") not in (None, *_OFF)


def needed(machine: Machine) -> list[Setting]:
    """What has to change for a report to come out, in that order. Raises NotOffered where it cannot come out."""
    tracefs = machine.tracefs
    if tracefs is None:
        raise NotOffered("tracefs is not mounted", advice="mount -t tracefs tracefs /sys/kernel/tracing")
    wanted = [(str(tracefs / "tracing_on"), "1"), (str(tracefs / _EVENT), "1")]
    if not prints_at_once(machine):
        buffer = str(tracefs / "buffer_size_kb")
        if _number(machine.text(buffer)) < WANTED_BUFFER_KB:
            wanted.insert(0, (buffer, str(WANTED_BUFFER_KB)))
        if not machine.has(DUMP):
            raise NotOffered(
                "kernel.ftrace_dump_on_oops is not there, and tp_printk is off: nothing would print the lines",
                advice="boot with tp_printk",
            )
        if machine.text(DUMP) in _OFF:
            wanted.append((str(DUMP), "1"))
    settings = []
    for path, value in wanted:
        before = machine.text(path)
        if before is not None and before != value:
            settings.append(Setting(path, before.partition(" ")[0], value))
    return settings


def events_in_the_way(machine: Machine) -> list[str]:
    """Trace events of others that are on: panic() prints them among a report's lines, thousands if need be."""
    tracefs = machine.tracefs
    text = None if tracefs is None else machine.text(tracefs / "set_event")
    return [event for event in (text or "").splitlines() if event and event != "bpf_trace:bpf_trace_printk"]


def change(machine: Machine, settings: list[Setting]) -> tuple[Setting, ...]:
    """Do what is needed. Raises NotOffered where the kernel refuses.

    Returned are the settings as the kernel then says them: it rounds the size of the buffer up to whole pages.
    """
    told = []
    for setting in settings:
        try:
            machine.path(setting.path).write_text(setting.wanted)
        except OSError as error:
            raise NotOffered(f"{setting.path} cannot be set to {setting.wanted}: {error.strerror}") from error
        now = (machine.text(setting.path) or setting.wanted).partition(" ")[0]
        told.append(replace(setting, wanted=now))
    return tuple(told)


def restore(machine: Machine, settings: list[Setting]) -> list[str]:
    """Put back what was there, the last change first; what somebody changed meanwhile stays, and is told."""
    told = []
    for setting in reversed(settings):
        now = machine.text(setting.path)
        if now is not None and now.partition(" ")[0] != setting.wanted:
            told.append(f"{setting.path} says {now}, which arm did not write: left as it is")
            continue
        try:
            machine.path(setting.path).write_text(setting.before)
        except OSError as error:
            told.append(f"{setting.path} cannot be set back to {setting.before}: {error.strerror}")
    return told


def _number(text: str | None) -> int:
    """Of `7 (expanded: 1408)` the first number."""
    return int(text.partition(" ")[0]) if text and text.partition(" ")[0].isdigit() else 0
