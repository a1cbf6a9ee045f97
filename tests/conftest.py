from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import oomscope


@pytest.fixture
def read_text(tmp_path: Path) -> Callable[..., oomscope.Evidence]:
    """Read bytes as one input."""

    def read(text: bytes, *, selection: oomscope.Selection | None = None) -> oomscope.Evidence:
        path = tmp_path / "input"
        path.write_bytes(text)
        return oomscope.read(path, selection=selection)

    return read
