"""The kernel log by VMCOREINFO alone, where neither the kernel's symbols nor its types are to be had."""

from __future__ import annotations

import drgn

from oomscope.crash_reader import kernel_log as ring
from oomscope.crash_reader.errors import Unread


def kernel_log(prog: drgn.Program, vmcoreinfo: dict[str, str]) -> bytes:
    """The log as dmesg prints it; empty where it is not in the memory, or VMCOREINFO does not tell where it is."""

    def read(address: int, count: int) -> bytes:
        try:
            return bytes(prog.read(address, count))
        except drgn.FaultError as error:
            raise Unread(str(error)) from error

    return ring.kernel_log(read, vmcoreinfo)
