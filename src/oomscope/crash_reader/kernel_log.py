"""The kernel log by VMCOREINFO alone: neither the kernel's symbols nor its types are needed.

kernel/printk/printk_ringbuffer.h from 5.10 on, and struct printk_log before; VMCOREINFO tells where everything lies.
"""

from __future__ import annotations

from oomscope.crash_reader.errors import Unread

TYPE_CHECKING = False  # typing's own would load all of typing
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LARGEST_STRUCTURE_BYTES = 1 << 12
_ALIGNED = {"ts_nsec": 8, "text_len": 2, "len": 2, "state_var": 8, "begin": 8, "next": 8}  # members, by their types
_MOST_RECORD_BITS, _MOST_TEXT_BITS, _MOST_BYTES = 20, 28, 1 << 28
_WORD = 8
_ID_MASK = (1 << 62) - 1  # DESC_ID_MASK
_COMMITTED, _FINALIZED = 1, 2  # enum desc_state
_NO_DATA = 1  # lpos of a record without text: FAILED_LPOS, EMPTY_LINE_LPOS


def kernel_log(read: Callable[[int, int], bytes], vmcoreinfo: dict[str, str]) -> bytes:
    """The log as dmesg prints it; empty where it is not in the memory, or VMCOREINFO does not tell where it is.

    `read` gives the bytes at an address, as many as asked for, or raises Unread.
    """
    records = _records if "SYMBOL(prb)" in vmcoreinfo else _old_records
    try:
        return b"".join(_line(ts_nsec, text) for ts_nsec, text in records(_Layout(read, vmcoreinfo)))
    except (LookupError, ValueError, OverflowError, Unread):
        return b""


class _Layout:
    """What VMCOREINFO tells of structures. Raises LookupError for what it does not."""

    def __init__(self, read: Callable[[int, int], bytes], vmcoreinfo: dict[str, str]) -> None:
        self._read, self._told = read, vmcoreinfo

    def has(self, key: str) -> bool:
        return key in self._told

    def symbol(self, name: str) -> int:
        return int(self._told[f"SYMBOL({name})"], 16)

    def size(self, name: str) -> int:
        size = int(self._told[f"SIZE({name})"])
        if not 0 < size <= _LARGEST_STRUCTURE_BYTES:
            raise ValueError("a size is damaged")
        return size

    def offset(self, member: str) -> int:
        offset = int(self._told[f"OFFSET({member})"])
        if not 0 <= offset <= _LARGEST_STRUCTURE_BYTES or offset % _ALIGNED.get(member.rpartition(".")[2], 1):
            raise ValueError("an offset is damaged")
        return offset

    def bytes_at(self, address: int, count: int) -> bytes:
        if not 0 <= count <= _MOST_BYTES:
            raise ValueError("a length is damaged")
        return self._read(address, count)

    def number_at(self, address: int, count: int = _WORD) -> int:
        return int.from_bytes(self.bytes_at(address, count), "little")


def _records(layout: _Layout) -> Iterator[tuple[int, bytes]]:
    """Time and text of every record, the oldest first (printk_ringbuffer.c prb_read())."""
    offset = layout.offset
    ring = layout.number_at(layout.symbol("prb"))
    descriptors = ring + offset("printk_ringbuffer.desc_ring")
    data = ring + offset("printk_ringbuffer.text_data_ring")
    count_bits = layout.number_at(descriptors + offset("prb_desc_ring.count_bits"), 4)
    size_bits = layout.number_at(data + offset("prb_data_ring.size_bits"), 4)
    if count_bits > _MOST_RECORD_BITS or size_bits > _MOST_TEXT_BITS:
        raise ValueError("a length is damaged")
    count, data_bytes = 1 << count_bits, 1 << size_bits
    desc_bytes, info_bytes = layout.size("prb_desc"), layout.size("printk_info")
    counter = offset("atomic_long_t.counter")
    descs = layout.bytes_at(layout.number_at(descriptors + offset("prb_desc_ring.descs")), count * desc_bytes)
    infos = layout.bytes_at(layout.number_at(descriptors + offset("prb_desc_ring.infos")), count * info_bytes)
    text = layout.bytes_at(layout.number_at(data + offset("prb_data_ring.data")), data_bytes)
    tail = layout.number_at(descriptors + offset("prb_desc_ring.tail_id") + counter)
    head = layout.number_at(descriptors + offset("prb_desc_ring.head_id") + counter)
    block = offset("prb_desc.text_blk_lpos")
    for step in range(min((head - tail & _ID_MASK) + 1, count)):
        number = tail + step & _ID_MASK
        desc = number % count * desc_bytes
        state = _number(descs, desc + offset("prb_desc.state_var") + counter)
        if state & _ID_MASK != number or state >> 62 not in (_COMMITTED, _FINALIZED):
            continue
        info = number % count * info_bytes
        length = _number(infos, info + offset("printk_info.text_len"), 2)
        begin = _number(descs, desc + block + offset("prb_data_blk_lpos.begin"))
        end = _number(descs, desc + block + offset("prb_data_blk_lpos.next"))
        if begin & _NO_DATA or length > min(end - begin & _ID_MASK, data_bytes):
            continue
        # A block that would go over the end begins at the start of the ring.
        at = (0 if begin // data_bytes != end // data_bytes and end % data_bytes else begin % data_bytes) + _WORD
        yield _number(infos, info + offset("printk_info.ts_nsec")), text[at : at + length]


def _old_records(layout: _Layout) -> Iterator[tuple[int, bytes]]:
    """The same before 5.10: records one behind the other in log_buf; one of length 0 leads back to the start."""
    name = "printk_log" if layout.has("SIZE(printk_log)") else "log"
    log = layout.bytes_at(layout.number_at(layout.symbol("log_buf")), layout.number_at(layout.symbol("log_buf_len"), 4))
    at = layout.number_at(layout.symbol("log_first_idx"), 4)
    end = layout.number_at(layout.symbol("log_next_idx"), 4)
    head_bytes, passed_bytes = layout.size(name), 0
    while passed_bytes <= len(log) and (at != end or not passed_bytes):
        length = _number(log, at + layout.offset(f"{name}.len"), 2)
        if not length:
            if at == 0:
                return  # nothing is there
            at = 0
            continue
        text_bytes = _number(log, at + layout.offset(f"{name}.text_len"), 2)
        if head_bytes + text_bytes > length:
            raise ValueError("a length is damaged")
        start = at + head_bytes
        yield _number(log, at + layout.offset(f"{name}.ts_nsec")), log[start : start + text_bytes]
        at += length
        passed_bytes += length


def _number(memory: bytes, at: int, count: int = _WORD) -> int:
    return int.from_bytes(memory[at : at + count], "little")


def _line(ts_nsec: int, text: bytes) -> bytes:
    return b"[%5d.%06d] %s\n" % (ts_nsec // 10**9, ts_nsec % 10**9 // 1000, text)
