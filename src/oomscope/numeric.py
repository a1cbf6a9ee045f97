"""NumPy, loaded when something is first asked of it: a log's reports need none, and a browser has none to give."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from typing import TYPE_CHECKING, cast

from oomscope.errors import NotOffered

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
else:

    class _NumPy:
        """Stands for the module until its first attribute is asked for, then has them all."""

        def __getattr__(self, name: str) -> object:
            if name.startswith("__"):
                raise AttributeError(name)  # who looks at modules does not load one
            try:
                module = importlib.import_module("numpy")
            except ImportError:
                raise NotOffered("counting stacks needs NumPy", advice="pip install numpy") from None
            vars(self).update(vars(module))
            return getattr(module, name)

    np = _NumPy()

__all__ = ["NO_ROWS", "is_worth_loading", "np"]


class _NoRows:
    """A column of no rows, for which NumPy is not loaded until more than its length or its list is asked for."""

    def __len__(self) -> int:
        return 0

    def tolist(self) -> list[int]:
        return []

    def __array__(self, *args: object, **kwargs: object) -> object:
        return np.zeros(0, np.int64)

    def __getattr__(self, name: str) -> object:
        return getattr(np.zeros(0, np.int64), name)


NO_ROWS = cast("npt.NDArray[np.int64]", _NoRows())
_WORTH_LOADING_BYTES = 1 << 20  # it takes as long as to look through so many without it


def is_worth_loading(size_bytes: int) -> bool:
    """Whether bytes are looked through faster with NumPy, its loading included."""
    return sys.modules.get("numpy") is not None or (size_bytes >= _WORTH_LOADING_BYTES and _is_installed())


@cache
def _is_installed() -> bool:
    return importlib.util.find_spec("numpy") is not None
