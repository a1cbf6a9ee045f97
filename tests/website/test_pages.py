"""The page of a case, for eight real ones: on a phone and on a desk, light and dark, for everybody."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

import oomscope
from oomscope.cli.explain import page_of
from tests.website.conftest import NEEDED, SIZES, resize, serious

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build/screenshots"
CORPUS = ROOT / "tests/data/corpus"
CASES = {
    "user memory": "021-el8-journald-cache-main",
    "memory cgroup": "027-leaker-memcg-caller-id",
    "fragmentation": "063-nfs-mount-order5-96GB",
    "atomic": "031-ceph-vm-gfp-atomic-below-min",
    "unaccounted": "086-nfsd-page-leak-88pct",
    "many events": "046-numa-random-swap-full-then-panic",
    "lowmem": "041-i386-mkfs-lowmem",
    "stacks": "",
}
pytestmark = NEEDED
# Text that is broken within a word, for want of room: an element with less than three letters on a line.
_BROKEN = """
    return [...document.querySelectorAll("td, th, li, p, dd, h1, h2")].filter((e) => {
      const style = getComputedStyle(e);
      return e.textContent.trim().length > 8 && e.clientWidth > 0 && e.clientWidth < 3 * parseFloat(style.fontSize);
    }).map((e) => e.textContent.trim().slice(0, 40));
"""


@pytest.mark.usefixtures("built")  # axe-core comes with what the browser's page is made of
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", CASES)
def test_a_page_is_for_everybody(driver: webdriver.Chrome, tmp_path: Path, case: str, size: str) -> None:
    """No sideways scroll, nothing broken letter by letter, no request, no error, and axe-core finds nothing serious."""
    path = next(CORPUS.glob(f"{CASES[case]}*")) if CASES[case] else ROOT / "examples/leak-6.12"
    page = tmp_path / "page.html"
    page.write_text(page_of([oomscope.explain(path)]))
    resize(driver, size)
    driver.get_log("browser")  # type: ignore[no-untyped-call]
    for scheme in ("light", "dark"):
        emulated = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)
        driver.get(page.as_uri())
        time.sleep(0.3)
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        driver.save_screenshot(str(SCREENSHOTS / f"case-{case.replace(' ', '-')}-{size}-{scheme}.png"))
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert driver.execute_script(_BROKEN) == []
        assert serious(driver) == []
    told = list(driver.get_log("browser"))  # type: ignore[no-untyped-call]
    assert [entry["message"] for entry in told if entry["level"] == "SEVERE"] == []


@pytest.mark.usefixtures("built")
def test_a_field_is_explained_on_focus(driver: webdriver.Chrome, tmp_path: Path) -> None:
    """By keyboard, by pointer and by touch alike."""
    page = tmp_path / "page.html"
    page.write_text(page_of([oomscope.explain(ROOT / "examples/kill-4.18.log")]))
    resize(driver, "phone")
    driver.get(page.as_uri())
    for act in ("focus()", "click()"):
        script = "const f = [...document.querySelectorAll('.field')].find((e) => e.textContent === arguments[0]);"
        driver.execute_script(f"{script} document.activeElement.blur(); f.{act}", "inactive_anon")
        told = driver.execute_script("return document.getElementById('about').textContent")
        assert "not used lately" in told
        assert "Since 2.6.28" in told


def opened(driver: webdriver.Chrome, tmp_path: Path, case: str) -> None:
    path = next(CORPUS.glob(f"{CASES[case]}*"))
    page = tmp_path / "page.html"
    page.write_text(page_of([oomscope.explain(path)]))
    resize(driver, "desktop")
    driver.get(page.as_uri())
    time.sleep(0.5)


@pytest.mark.usefixtures("built")
def test_events_of_a_log_are_drawn_over_time(driver: webdriver.Chrome, tmp_path: Path) -> None:
    """A point for each, the one that is explained larger."""
    opened(driver, tmp_path, "many events")
    drawn = driver.execute_script("return document.querySelectorAll('#events .point').length")
    assert drawn == len(oomscope.explain(next(CORPUS.glob(f"{CASES['many events']}*"))).events) >= 3


@pytest.mark.usefixtures("built")
def test_what_a_reader_looks_for_first_stands_first(driver: webdriver.Chrome, tmp_path: Path) -> None:
    """By the class: processes, a group's composition against its limit, free blocks, all of RAM."""
    first = {
        "user memory": "Processes by name",
        "memory cgroup": "In /leaker, against its limit of 512.0 MiB",
        "fragmentation": "Free memory by block size, against the request of order 5",
        "unaccounted": "Where all of RAM is",
    }
    for case, heading in first.items():
        opened(driver, tmp_path, case)
        assert driver.execute_script("return document.querySelector('h2').textContent.trim()") == heading


@pytest.mark.usefixtures("built")
def test_a_page_on_paper_has_no_controls_and_all_of_its_tables(driver: webdriver.Chrome, tmp_path: Path) -> None:
    """Nothing that only a screen has use of; nothing folded or scrolled away."""
    opened(driver, tmp_path, "user memory")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    shown = "return [...document.querySelectorAll('.screen')].filter((e) => e.offsetParent !== null).length"
    assert driver.execute_script(shown) == 0
    assert driver.execute_script("return [...document.querySelectorAll('details')].every((e) => e.open)")
    cut = "return [...document.querySelectorAll('.scroll')].filter((e) => e.scrollHeight > e.clientHeight + 1).length"
    assert driver.execute_script(cut) == 0
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.usefixtures("built")
def test_a_page_is_used_by_keyboard_alone(driver: webdriver.Chrome, tmp_path: Path) -> None:
    """Every control is reached by Tab, and what has the focus is outlined."""
    opened(driver, tmp_path, "user memory")
    reached = set()
    for _ in range(40):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(
            driver.execute_script("return document.activeElement.tagName + '.' + document.activeElement.className")
        )
        outline = driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
    assert {"SELECT.", "SUMMARY.", "INPUT.filter"} <= reached
