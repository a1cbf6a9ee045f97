"""The kernel log by VMCOREINFO alone, by layout. That it is what drgn prints is tested on the lab's dumps."""

from __future__ import annotations

import struct

import pytest

pytest.importorskip("drgn")

from oomscope.sources.vmcore.log_buffer import kernel_log

LOG_BUF, ADDRESS = 0x10000, 0x20000
# kernel/printk/printk.c up to 5.9: ts_nsec, len, text_len, dict_len, facility, flags and level.
PRINTK_LOG = struct.Struct("<QHHHBB")
LAYOUT = {
    "SYMBOL(log_buf)": f"{ADDRESS:x}",
    "SYMBOL(log_buf_len)": f"{ADDRESS + 8:x}",
    "SYMBOL(log_first_idx)": f"{ADDRESS + 12:x}",
    "SYMBOL(log_next_idx)": f"{ADDRESS + 16:x}",
    "SIZE(printk_log)": "16",
    "OFFSET(printk_log.ts_nsec)": "0",
    "OFFSET(printk_log.len)": "8",
    "OFFSET(printk_log.text_len)": "10",
}
SIZE = 256


class Memory:
    """What drgn.Program.read() is asked."""

    def __init__(self, segments: dict[int, bytes]) -> None:
        self._segments = segments

    def read(self, address: int, count: int) -> bytes:
        """Raises ValueError where nothing is."""
        for start, content in self._segments.items():
            if start <= address and address + count <= start + len(content):
                return content[address - start :][:count]
        raise ValueError("nothing is there")


def record(ts_nsec: int, text: bytes) -> bytes:
    length = -(-(PRINTK_LOG.size + len(text)) // 4) * 4
    return (PRINTK_LOG.pack(ts_nsec, length, len(text), 0, 0, 0) + text).ljust(length, b"\0")


def memory(log: bytes, first: int, following: int) -> Memory:
    told = struct.pack("<QIII", LOG_BUF, SIZE, first, following)
    return Memory({LOG_BUF: log.ljust(SIZE, b"\0"), ADDRESS: told})


def test_the_form_before_5_10_goes_round() -> None:
    """Records from the first one on; one of length 0 leads back to the start, where the newest are."""
    newest = record(3_000_000_000, b"Out of memory: Killed process 1")
    gap = bytes(32)
    older = record(1_000_001_000, b"one") + record(2_000_000_000, b"two\nlines")
    log = newest + gap + older
    found = kernel_log(memory(log, len(newest) + len(gap), len(newest)), LAYOUT)
    assert found == (b"[    1.000001] one\n[    2.000000] two\nlines\n[    3.000000] Out of memory: Killed process 1\n")


@pytest.mark.parametrize("damage", ["SIZE(printk_log)", "SYMBOL(log_buf)", "OFFSET(printk_log.len)"])
def test_what_vmcoreinfo_does_not_tell_gives_nothing(damage: str) -> None:
    """No guess, and no error."""
    log = record(1, b"one")
    layout = {key: value for key, value in LAYOUT.items() if key != damage}
    assert kernel_log(memory(log, 0, len(log)), layout) == b""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SIZE(printk_log)", "0"),
        ("SIZE(printk_log)", "-16"),
        ("OFFSET(printk_log.ts_nsec)", "-9"),
        ("OFFSET(printk_log.len)", "9"),
    ],
)
def test_a_layout_that_cannot_be_gives_nothing(key: str, value: str) -> None:
    """No text, rather than a wrong time or half of it."""
    log = record(1, b"one")
    assert kernel_log(memory(log, 0, len(log)), LAYOUT | {key: value}) == b""


def test_a_text_longer_than_its_record_is_none() -> None:
    """And not the memory behind it."""
    spoilt = PRINTK_LOG.pack(1, 20, 60000, 0, 0, 0) + b"one "
    assert kernel_log(memory(spoilt, 0, len(spoilt)), LAYOUT) == b""


def test_a_damaged_length_ends() -> None:
    """A log that says it is larger than any, and records that lead round for ever."""
    told = struct.pack("<QIII", LOG_BUF, 0xFFFFFFFF, 0, 4)
    assert kernel_log(Memory({LOG_BUF: bytes(SIZE), ADDRESS: told}), LAYOUT) == b""
    assert kernel_log(memory(bytes(SIZE), 0, 4), LAYOUT) == b""
