"""Zstandard by the library, or by Python's own module from 3.14 on: a browser's Python has that alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

_WINDOW_LOG = 31  # what `zstd --ultra --long=31` needs

try:
    import zstandard

    ERROR: type[Exception] = zstandard.ZstdError

    def frames() -> Callable[[], Any]:
        """What makes the decompressors of one input: they share a context, which costs more than a small frame."""
        return zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG).decompressobj

except ImportError:
    _module: Any = importlib.import_module("compression.zstd")
    ERROR = _module.ZstdError

    def frames() -> Callable[[], Any]:
        """The same; the module shares no context."""
        parameter = _module.DecompressionParameter.window_log_max
        options = {parameter: min(_WINDOW_LOG, parameter.bounds()[1])}  # of 32 bit less
        return lambda: _module.ZstdDecompressor(options=options)
