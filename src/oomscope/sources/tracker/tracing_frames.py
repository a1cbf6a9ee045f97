"""Frames of tracing itself: what stands between an event and a program that is put on it."""

from __future__ import annotations

# include/trace/bpf_probe.h, kernel/trace/bpf_trace.c, kernel/bpf/trampoline.c; modules have the first two as well.
_TRACING = (
    *("__traceiter_", "__bpf_trace_", "bpf_trace_run", "__bpf_prog_", "bpf_get_stack"),
    *("bpf_prog_", "bpf_trampoline_"),
)
_BPF_MODULE = "[bpf]"  # of /proc/kallsyms


def is_tracing(frame: str) -> bool:
    """Whether a frame, as the kernel prints it, asked for no page but was there because pages are watched.

    A frame without a name is code that kallsyms does not show, as BPF programs where net.core.bpf_jit_harden is set.
    """
    return frame.startswith(("0x", *_TRACING)) or frame.endswith(_BPF_MODULE)
