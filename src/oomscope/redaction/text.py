"""What names a machine, its people and their work, taken out of kernel logs and accounts.

Each name becomes the same word everywhere, so that an answer stays what it was: `task-1`, `unit-2`, `host`. What the
kernel prints of memory is kept; command lines, arguments, messages of programs and audit records are left out; of
other lines addresses, identifiers, paths, domains and whatever stands in quotes. Kernel threads keep their names: they
decide classes.

A log is read line by line, for what stands in one line decides what the next ones are (arguments follow their title).
Accounts are large and of few forms: they are read in one go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

from oomscope.redaction.patterns import (
    AUDIT,
    BEHIND_HOST,
    BUILDER,
    CHARGED,
    COMMAND_LINE,
    COMMON_GROUP,
    DMA_BUFFER,
    FACILITY,
    FIRST_OF_PROGRAMS,
    FROM_PROGRAM,
    GROUPS,
    KERNEL_THREAD,
    KERNELS_OWN,
    KMSG,
    KMSG_FIELD,
    LABEL,
    LEAKER,
    LEFT_OUT,
    LINK_HEADER,
    LIST_INDENT,
    LISTS_FOLLOW,
    MAY_HAVE_WORDS,
    MAY_NAME,
    MAY_TELL,
    MESSAGE_BYTES,
    NETWORK_PATH,
    OF_A_REPORT,
    OF_DEVICES,
    OWNER,
    PATH,
    QUOTED,
    SERIAL,
    SERVER,
    SETTING,
    SLAB_GROUP,
    SSID,
    SUFFIX,
    SYSLOG,
    TASKS,
    WITHIN,
    WORDS,
)
from oomscope.sources.kernel_log.prefixes import without_prefixes


def _told_before(match: re.Match[bytes]) -> bytes:
    return match["before"] + LEFT_OUT


class Redactor:
    """Takes names out of the texts of one machine; see the top of this file. `hosts` are names known beforehand."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._names: dict[str, dict[bytes, bytes]] = {}
        self._hosts: set[bytes] = set()
        # Whether a message, indented so far, belongs to what was left out of the one before.
        self._follows: Callable[[bytes, int], bool] | None = None
        self._is_stamped = False
        for host in hosts:
            self._learn_host(host.encode())

    def account(self, text: bytes) -> bytes:
        """Whole lines of a file of /proc, /sys or debugfs."""
        text = OWNER.sub(self._task, text)
        text = LEAKER.sub(self._task, text)
        text = CHARGED.sub(self._group, text)
        text = SLAB_GROUP.sub(self._unit, text)
        text = BUILDER.sub(rb"\g<before>(builder)", text)
        text = DMA_BUFFER.sub(self._buffer, text)
        text = self._without_hosts(text)
        for kind, pattern in WORDS[:5]:
            text = pattern.sub(lambda match, kind=kind: self._word(kind, match[0]), text)  # type: ignore[misc]
        return text

    def log(self, text: bytes) -> bytes:
        """Whole lines of a kernel log, whatever collected it; lines of programs are left out."""
        kept = ((self._line(line.rstrip(b"\r")), line.endswith(b"\r")) for line in text.split(b"\n"))
        return b"\n".join(line + b"\r" if has_return else line for line, has_return in kept if line is not None)

    def learn(self, text: bytes) -> None:
        """Meet every name in a log before it is redacted: a line may have one that a later line tells to be one."""
        self.log(text)
        self._follows, self._is_stamped = None, False

    def member_name(self, name: str, form: str, number: int) -> str:
        """A name for an archive's member: its place in /proc, /sys or /dev where it has one, else its form."""
        found = _PLACE.search(name[-_NAME_REACH:])
        return found[1] if found is not None else f"{number:03d}-{form.replace(' ', '-')}"

    # --- lines of a log

    def _line(self, line: bytes) -> bytes | None:
        if line.startswith(b"{"):
            return self._of_journal(line)
        if (syslog := SYSLOG.match(line)) is not None:
            self._learn_host(syslog["host"])
            if syslog["tag"] != b"kernel":
                return None
        elif (
            (kmsg := KMSG.match(line)) is not None
            and int(kmsg["priority"]) >= FIRST_OF_PROGRAMS
            and b";OOM: " not in line
        ):
            self._follows = None
            return None
        elif KMSG_FIELD.match(line) is not None:
            return None
        elif (behind := BEHIND_HOST.match(line)) is not None:
            self._learn_host(behind["host"])
        stripped = without_prefixes(line, 0)
        head = line[: len(line) - len(stripped.text)]
        indent = len(head) - len(head.rstrip(b" "))
        if self._follows is not None:
            if self._follows(stripped.text, indent) or (not stripped.is_stamped and self._is_stamped and stripped.text):
                return self._without_hosts(head) + LEFT_OUT
            self._follows = None
        self._is_stamped = stripped.is_stamped
        parts = WITHIN.split(stripped.text)
        return self._without_hosts(head) + b"".join(
            self._message(part) if index % 2 == 0 else part for index, part in enumerate(parts)
        )

    def _message(self, text: bytes) -> bytes:
        if (command_line := COMMAND_LINE.search(text)) is not None:
            self._follows = _is_rest_of_command_line if text.rstrip().endswith(b"\\") else _is_nothing
            return text[: command_line.end()] + LEFT_OUT
        if LISTS_FOLLOW.match(text) is not None:
            self._follows = _is_listed
            return text
        if AUDIT.match(text) is not None:
            return b"audit: " + LEFT_OUT
        if FROM_PROGRAM.match(text) is not None and KERNELS_OWN.match(text) is None:
            return LEFT_OUT
        if len(text) > MESSAGE_BYTES:
            return LEFT_OUT
        if MAY_NAME.search(text) is not None:
            text = BUILDER.sub(rb"\g<before>(builder)", text)
            for pattern in (OWNER, LEAKER, *TASKS):
                text = pattern.sub(self._task, text)
            for pattern in (CHARGED, *GROUPS):
                text = pattern.sub(self._group, text)
            text = SLAB_GROUP.sub(self._unit, text)
        text = self._without_hosts(text)
        if MAY_HAVE_WORDS.search(text) is not None:
            for kind, pattern in WORDS:
                text = pattern.sub(lambda match, kind=kind: self._word(kind, match[0]), text)  # type: ignore[misc]
        if OF_A_REPORT.match(text) is not None:
            return text
        text = QUOTED.sub(b"'" + LEFT_OUT + b"'", text)
        if MAY_TELL.search(text) is not None:
            for pattern in (OF_DEVICES, SERIAL, SSID, SERVER, LABEL, SETTING, LINK_HEADER):
                text = pattern.sub(_told_before, text)
        if b"/" in text or b"\\" in text:
            text = NETWORK_PATH.sub(lambda match: self._path(match[0]), text)
            text = PATH.sub(lambda match: self._path(match[0]), text)
        return self._without_tasks(text)

    def _of_journal(self, line: bytes) -> bytes | None:
        """A record of `journalctl -o json`: a kernel's text, stamps and priority; nothing of a program's."""
        try:
            record = json.loads(line)
            message = record["MESSAGE"]
            text = bytes(message) if isinstance(message, list) else str(message).encode("utf-8", "backslashreplace")
            if record.get("_TRANSPORT", "kernel") != "kernel":
                return None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return LEFT_OUT
        if isinstance(host := record.get("_HOSTNAME"), str):
            self._learn_host(host.encode("utf-8", "backslashreplace"))
        kept = {key: record[key] for key in _JOURNAL_KEYS if key in record}
        lines = [self._line(part) for part in text.split(b"\n")]
        kept["MESSAGE"] = b"\n".join(part for part in lines if part is not None).decode("utf-8", "backslashreplace")
        return json.dumps(kept).encode()

    # --- names

    def _renamed(self, kind: str, name: bytes) -> bytes:
        names = self._names.setdefault(kind, {})
        return names.setdefault(name, b"%s-%d" % (kind.encode(), len(names) + 1))

    def _task(self, match: re.Match[bytes]) -> bytes:
        name = match["name"]
        if KERNEL_THREAD.fullmatch(name) is not None or not name.strip():
            return match[0]
        return match["before"] + self._renamed("task", name) + match["after"]

    def _group(self, match: re.Match[bytes]) -> bytes:
        parts = match["name"].split(b"/")
        return match["before"] + b"/".join(map(self._group_part, parts)) + match["after"]

    def _group_part(self, part: bytes) -> bytes:
        if COMMON_GROUP.fullmatch(part) is not None or part in (b"", b"(null)", b"(deleted)"):
            return part
        suffix = SUFFIX.search(part)
        return self._renamed("unit", part) + (b"" if suffix is None else suffix[0])

    def _unit(self, match: re.Match[bytes]) -> bytes:
        return match["before"] + self._group_part(match["name"]) + match["after"]

    def _buffer(self, match: re.Match[bytes]) -> bytes:
        name = match["name"]
        return match["before"] + (name if name == b"<none>" else self._renamed("buffer", name)) + match["after"]

    def _word(self, kind: str, word: bytes) -> bytes:
        return self._renamed(kind, word.lower())

    def _path(self, path: bytes) -> bytes:
        return b"/" + self._renamed("path", path)

    def _without_tasks(self, text: bytes) -> bytes:
        """Names of tasks that were met before, where a line of no known form has them as a word."""
        names = self._names.get("task")
        if not names:
            return text
        return _NAME_LIKE.sub(lambda match: names.get(match[0], match[0]), text)

    def _learn_host(self, host: bytes) -> None:
        if FACILITY.fullmatch(host) is not None:
            return
        name = host.partition(b".")[0].lower()
        if len(name) > 1 and name not in _NO_HOSTS and not name.isdigit():  # of an address: WORDS
            self._hosts.add(name)

    def _without_hosts(self, text: bytes) -> bytes:
        return _LABELS.sub(self._host, text) if self._hosts else text

    def _host(self, match: re.Match[bytes]) -> bytes:
        """A word with dots, from the first label that is a host's name on."""
        labels = match[0].split(b".")
        found = next((at for at, label in enumerate(labels) if label.lower() in self._hosts), None)
        return match[0] if found is None else b".".join([*labels[:found], b"host"])


_NAME_REACH = 300
_LABELS = re.compile(rb"[\w-]+(?:\.[\w-]+)*+")
# Where a file of the kernel's lies, without a name that somebody gave.
_PLACE = re.compile(
    r"(?:^|/)(proc/(?:(?:slab|mem|vmalloc|alloc|zone|buddy|pagetype)info|vmstat|modules|cmdline|version)"
    r"|sys/kernel/debug/(?:page_owner|page_owner_stacks/[a-z_]{3,30}|kmemleak|dma_buf/bufinfo|percpu_stats"
    r"|slab/[\w-]{1,60}/(?:alloc|free)_traces)|sys/block/zram\d{1,3}/mm_stat|dev/kmsg)$"
)
_NO_HOSTS = {b"localhost", b"host", b"kernel", b"(none)", b"linux"}
_NAME_LIKE = re.compile(rb"(?<![\w.+/-])[\w.+@:-]{3,15}(?![\w+/-])")
_JOURNAL_KEYS = (
    "__REALTIME_TIMESTAMP",
    "__MONOTONIC_TIMESTAMP",
    "_SOURCE_MONOTONIC_TIMESTAMP",
    "PRIORITY",
    "_TRANSPORT",
)


def _is_listed(_: bytes, indent: int) -> bool:
    return indent >= LIST_INDENT


def _is_rest_of_command_line(message: bytes, _: int) -> bool:
    return COMMAND_LINE.search(message) is None


def _is_nothing(_: bytes, __: int) -> bool:
    return False
