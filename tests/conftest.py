from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

import oomscope

# Continuous integration tries the same damages each time; a developer's run tries new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture
def read_text(tmp_path: Path) -> Callable[..., oomscope.Evidence]:
    """Read bytes as one input."""

    def read(text: bytes, *, selection: oomscope.Selection | None = None) -> oomscope.Evidence:
        path = tmp_path / "input"
        path.write_bytes(text)
        return oomscope.read(path, selection=selection)

    return read
