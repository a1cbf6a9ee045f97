"""Reports that the program on the OOM path kept in its BPF map, found in kernel memory (kernel/bpf/arraymap.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drgn
from drgn.helpers.linux.idr import idr_for_each

from oomscope.sources.tracker.panic_report import MAP_NAME, REPORT_BYTES, REPORTS, PanicReport, decode

if TYPE_CHECKING:
    from oomscope.sources.vmcore.dump import Dump


def panic_reports(dump: Dump) -> list[PanicReport]:
    """The reports of all armed programs, the oldest first; none where nothing was armed or the kernel has no BPF."""
    found = []
    try:
        for _, entry in idr_for_each(dump.prog["map_idr"]):
            array = drgn.Object(dump.prog, dump.prog.type("struct bpf_array"), address=entry.value_())
            if array.map.name.string_() != MAP_NAME.encode() or int(array.map.value_size) != REPORT_BYTES:
                continue
            values = drgn.cast("unsigned long", array.value.address_of_()).value_()
            for slot in range(REPORTS):
                report = decode(bytes(dump.bytes_at(values + slot * int(array.elem_size), REPORT_BYTES)))
                if report is not None:
                    found.append(report)
    except (LookupError, drgn.FaultError, AttributeError, ValueError, OverflowError, TypeError):
        pass  # another witness less: the pages themselves are read all the same
    return sorted(found, key=lambda report: report.at_ns)
