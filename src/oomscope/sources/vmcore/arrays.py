"""Members of structures that lie one after another, as columns."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Number = TypeVar("Number", bound=np.generic)
Bytes = npt.NDArray[np.uint8]


def column(rows: Bytes, at: int, kind: type[Number]) -> npt.NDArray[Number]:
    """The number at byte `at` of every row; `rows` has shape (N, size of the structure)."""
    return np.ascontiguousarray(rows[:, at : at + np.dtype(kind).itemsize]).view(kind).ravel()
