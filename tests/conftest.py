from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import oomscope

# A shell starts what runs in its background with interrupts ignored, nohup with hang-ups; what that starts inherits it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def read_text(tmp_path: Path) -> Callable[..., oomscope.Evidence]:
    """Read bytes as one input."""

    def read(text: bytes, *, selection: oomscope.Selection | None = None) -> oomscope.Evidence:
        path = tmp_path / "input"
        path.write_bytes(text)
        return oomscope.read(path, selection=selection)

    return read
