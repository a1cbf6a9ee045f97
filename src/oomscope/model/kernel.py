"""Which kernel the evidence is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oomscope.model.unknown import Unknown


@dataclass(frozen=True, slots=True)
class Kernel:
    """Which kernel the evidence is of.

    `page_size_bytes` is proven, by what `page_size_proof` says; where nothing proves it, `page_size_assumed_bytes` is
    what is usual for such a machine.
    """

    release: str | Unknown
    arch: str | Unknown
    page_size_bytes: int | Unknown
    page_size_assumed_bytes: int | None = None
    page_size_proof: str = ""
