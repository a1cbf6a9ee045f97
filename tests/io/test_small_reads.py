from __future__ import annotations

import errno

from oomscope.io.input import HEAD_BYTES, Stream

RECORD = b"x" * 700


class LikePageOwner:
    """Gives whole records, and refuses a read without room for the next one, as mm/page_owner.c does."""

    def __init__(self, records: int) -> None:
        self.left = records

    def read(self, size: int = -1, /) -> bytes:
        """One record, where there is room for it."""
        if not self.left:
            return b""
        if 0 <= size < len(RECORD):
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        self.left -= 1
        return RECORD


def test_a_file_of_records_is_never_asked_for_less_than_a_record() -> None:
    """From the first byte, over the end of the head, to the last: all records come."""
    records = 2 * HEAD_BYTES // len(RECORD)
    stream = Stream("page_owner", LikePageOwner(records), size_bytes=None)
    assert b"".join(stream.chunks()) == RECORD * records
    assert stream.defect is None
