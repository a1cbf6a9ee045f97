"""Files of a living kernel that must be read to their end, once they are read at all.

From 6.9 to 6.18 page_owner_stacks keeps its place in the list of stacks where the file's release frees it
(mm/page_owner.c: stack_start() sets m->private, .release is seq_release_private()). Whoever closes show_stacks halfway,
by `head` or an interrupt, frees a node that is still in the list: an oops then, or a list that never ends later.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FOLDER = "page_owner_stacks"
_CHUNK_BYTES = 1 << 20
MOST_BYTES = 1 << 30  # no list of stacks is that long: one that has been damaged never ends


def must_be_read_whole(path: Path) -> bool:
    """Whether closing this file halfway may harm the kernel it is of."""
    return path.parent.name == _FOLDER and path.name != "count_threshold"


def read_whole(path: Path, kept_bytes: int = MOST_BYTES) -> bytes:
    """The first `kept_bytes` of a file that is read to its end, 1 GiB at most; an interrupt waits until it is closed.

    Raises OSError.
    """
    pieces: list[bytes] = []
    done = 0
    with _uninterrupted(), path.open("rb", buffering=0) as file:
        while done < MOST_BYTES and (piece := file.read(_CHUNK_BYTES)):
            if done < kept_bytes:
                pieces.append(piece[: kept_bytes - done])
            done += len(piece)
    return b"".join(pieces)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    waiting = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
