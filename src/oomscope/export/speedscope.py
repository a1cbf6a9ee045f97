"""speedscope's file format: a sampled profile in which a sample is a stack and its weight the memory it holds."""

from __future__ import annotations

import json

from oomscope import __version__
from oomscope.export.frames import path_of
from oomscope.model.verdict import Verdict

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"  # names the format; nothing is fetched from there


def export(verdict: Verdict) -> bytes:
    """In bytes where the page size is known, else in pages."""
    frames: dict[str, int] = {}
    samples = [[frames.setdefault(name, len(frames)) for name in path_of(c)] for c in verdict.consumers]
    sizes = [consumer.size_bytes for consumer in verdict.consumers]
    in_bytes = all(size is not None for size in sizes)
    weights = [c.pages for c in verdict.consumers] if not in_bytes else [size or 0 for size in sizes]
    profile = {
        "type": "sampled",
        "name": "bytes held, by allocation stack" if in_bytes else "pages held, by allocation stack",
        "unit": "bytes" if in_bytes else "none",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": samples,
        "weights": weights,
    }
    whole = {
        "$schema": _SCHEMA,
        "exporter": f"oomscope {__version__}",
        "name": verdict.inputs[0].origin if verdict.inputs else "oomscope",
        "shared": {"frames": [{"name": name} for name in frames]},
        "profiles": [profile],
    }
    return json.dumps(whole, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
