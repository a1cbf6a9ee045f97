"""The page size by the name of the release, where a distribution builds an architecture with one size only."""

from __future__ import annotations

import pytest

from oomscope.attribution.page_size import page_size
from oomscope.model.unknown import Unknown


@pytest.mark.parametrize(
    ("release", "size"),
    [
        ("4.19.0-91.82.152.28.1.tmp.20240925114625.uelc20.loongarch64", 16384),
        ("6.12.9-16k+", 16384),
        ("4.18.0-553.el8.ppc64le", 65536),
        ("4.18.0-553.el8.aarch64", 65536),
        ("5.14.0-427.el9.aarch64", 4096),
        ("6.8.0-45-generic", None),
    ],
)
def test_what_a_release_tells(release: str, size: int | None) -> None:
    """Known, with the release as its proof; else the usual one is assumed, and said."""
    found = page_size(Unknown("architecture", "not told"), release, None, {}, ())
    assert (None if isinstance(found.size_bytes, Unknown) else found.size_bytes) == size
    assert (release in found.proof) is (size is not None)
