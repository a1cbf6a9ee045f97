"""Symbols and types of a dump that tells of neither, found by their structure, against the guest's own account."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from oomscope.sources.vmcore import btf_scan, log_buffer, vmcoreinfo
from oomscope.sources.vmcore.opening import open_dump
from tests.lab.test_dumps import CORES, FUNCTIONS_ONLY, census_of, dump_of, explained
from tests.support.lab_cases import Case, each

BY_FUNCTIONS = [case for case in CORES if case.kernel in FUNCTIONS_ONLY]


@pytest.mark.parametrize("case", each([case for case in CORES if case.has("kallsyms")]))
def test_the_dump_has_the_symbols_that_the_guest_had(case: Case) -> None:
    """All of /proc/kallsyms but the modules', by address and name; before 6.0 their place is found by structure."""
    told = (line.split() for line in case.text("kallsyms").splitlines())
    guest = Counter((int(address, 16), name) for address, _, name, *module in told if not module)
    dump = open_dump(dump_of(case))
    symbols = dump.symbols
    found = Counter(zip(symbols._addresses.tolist(), symbols._names, strict=True))
    if case in BY_FUNCTIONS:
        told_besides = vmcoreinfo.symbols(dump.vmcoreinfo)
        guest |= Counter((address, name) for name, address in told_besides.items())
    assert found == guest


@pytest.mark.parametrize("case", each(list({case.kernel: case for case in CORES}.values())))
def test_btf_is_found_by_its_structure_as_by_its_symbols(case: Case) -> None:
    """One dump of each kernel. Where no symbol tells, as in one with functions only, drgn still has the types of it."""
    dump = open_dump(dump_of(case))
    start, stop = dump.symbols.address_of("__start_BTF"), dump.symbols.address_of("__stop_BTF")
    found = btf_scan.find(dump.prog, dump.vmcoreinfo)
    assert found is not None
    assert dump.prog.type("struct task_struct").member("comm").offset > 0
    if start is not None and stop is not None:
        assert found == dump.prog.read(start, len(found))
        assert 0 <= stop - start - len(found) < 8  # aligned


@pytest.mark.parametrize("case", each(BY_FUNCTIONS))
def test_a_kernel_whose_symbols_are_functions_has_its_census_too(case: Case) -> None:
    """Without one global's address: the rows add up to the RAM of the report, and two of them are the report's own."""
    verdict, census = explained(case), census_of(case)
    assert verdict.balance is not None
    assert verdict.balance.unexplained_pages == 0
    dump = open_dump(dump_of(case))
    told = re.search(rb" shmem:(\d+) pagetables:(\d+)", log_buffer.kernel_log(dump.prog, dump.vmcoreinfo))
    assert told is not None
    assert (census.pages["shmem"], census.pages["page tables"]) == (int(told[1]), int(told[2]))
    assert any("functions only" in absent.reason for absent in verdict.absent)
