"""The HTML page in a real browser: what it says, that it works, and that nothing leaves it."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

import oomscope
from oomscope.cli.diff import page_of_difference
from oomscope.cli.explain import page_of
from oomscope.model.verdict import Verdict
from oomscope.pipeline.api import compare
from tests.support import captures
from tests.support.transcriptions import ORDINARY, linux_6_12
from tests.verdict.test_rules import ALLOCATOR

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
MANY_PATHS = ROOT / "tests" / "data" / "many-paths-6.12"
KMALLOC = ROOT / "examples" / "armed-6.12-arm64"
LEAKED = f"{captures.LEAKED_PAGES:,}"
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="no browser: apt-get install chromium chromium-driver"
)
_ALLOWED = ("file://", "data:", "blob:", "about:", "chrome:")


class Page:
    """A page in the browser, with what it asked for and complained of."""

    def __init__(self, driver: webdriver.Chrome, path: Path) -> None:
        self.driver, self.url = driver, path.as_uri()
        self.told_by("browser")
        self.told_by("performance")
        started = time.monotonic()
        driver.get(self.url)
        # get() may return while the page before is still there.
        WebDriverWait(driver, 60, poll_frequency=0.02).until(self._is_there)
        self.opened_s = time.monotonic() - started

    def _is_there(self, driver: webdriver.Chrome) -> bool:
        at, state = driver.execute_script("return [location.href, document.readyState]")
        return bool(at == self.url and state == "complete")

    def told_by(self, log: str) -> list[Any]:
        """What the browser has logged since."""
        return list(self.driver.get_log(log))  # type: ignore[no-untyped-call]

    def text(self, selector: str) -> str:
        """What stands there."""
        return str(self.driver.find_element(By.CSS_SELECTOR, selector).text)

    def run(self, script: str, *arguments: object) -> Any:
        """The value of a script."""
        return self.driver.execute_script(f"return {script}", *arguments)

    def check(self) -> None:
        """No error on the console, no request but for the page itself."""
        assert [entry for entry in self.told_by("browser") if entry["level"] == "SEVERE"] == []
        told = [json.loads(entry["message"])["message"] for entry in self.told_by("performance")]
        asked = [m["params"]["request"]["url"] for m in told if m["method"] == "Network.requestWillBeSent"]
        assert asked
        assert [url for url in asked if not url.startswith(_ALLOWED)] == []

    def keep(self, name: str) -> None:
        """A screenshot among the build's artefacts."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    options = Options()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,2400"):
        options.add_argument(argument)
    options.binary_location = CHROMIUM or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield browser
    finally:
        browser.quit()


def written(path: Path, verdict: Verdict) -> Path:
    path.write_text(page_of([verdict]), encoding="utf-8")
    return path


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_kmalloc_panic_is_seen(driver: webdriver.Chrome, tmp_path: Path, scheme: str) -> None:
    """The greatest consumer and its pages as text, in both colour schemes; frames zoom, search highlights."""
    verdict = oomscope.explain(KMALLOC)
    assert verdict.greatest is not None
    page = Page(driver, written(tmp_path / "kmalloc.html", verdict))
    page.run("document.getElementById('scheme').value = arguments[0]", scheme)
    page.run("document.getElementById('scheme').dispatchEvent(new Event('change'))")
    background = page.run("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    assert page.text("h1").startswith("take_kmalloc [oomlab] grew slab caches to hold at least 1.8 GiB (480,792 pages)")
    assert f"OOM: greatest memory consumer: {verdict.greatest.pages} pages" in page.text("pre.kernel")
    assert "<- culprit" in page.text("pre.kernel mark")
    page.keep(f"kmalloc-{scheme}")
    _zooms_and_searches(page, "take_kmalloc")
    page.check()


@needs_browser
@pytest.mark.slow
def test_many_paths_to_one_culprit_are_seen(driver: webdriver.Chrome, tmp_path: Path) -> None:
    """The roll-up is the answer; turned round, the culprit is one frame above its paths; plumbing folds away."""
    page = Page(driver, written(tmp_path / "paths.html", oomscope.explain(MANY_PATHS)))
    (holder,) = json.loads((MANY_PATHS / "truth.json").read_text())["moments"]["taken"]
    assert page.text("h1").startswith(f"{holder['function']} [oomlab] holds ")
    assert f"({holder['pages']:,} pages)" in page.text("h1")
    assert "over 23 stacks" in page.text("h1")
    for view in ("turned", "turned folded", "inwards folded"):
        page.run("document.getElementById('flame-view').value = arguments[0]", view)
        page.run("document.getElementById('flame-view').dispatchEvent(new Event('change'))")
        labels = page.run("document.getElementById('flame').data[0].labels")
        assert labels.count(f"{holder['function']} [oomlab]") == (23 if view.startswith("inwards") else 1)
        assert any("alloc_pages" in label for label in labels) == (view == "turned")
    _zooms_and_searches(page, holder["function"])
    page.keep("many-paths")
    page.check()


@needs_browser
@pytest.mark.slow
def test_growth_and_two_moments_are_seen(driver: webdriver.Chrome, tmp_path: Path) -> None:
    """Of one dump pages by allocation time; of two readings, each culprit before and now."""
    one = Page(driver, written(tmp_path / "one.html", oomscope.explain(captures.CASE_6_12)))
    growth = one.run("document.getElementById('growth').data")
    leak = next(trace for trace in growth if trace["name"] == "leak_mb_write [leak]")
    assert sum(leak["y"]) == captures.LEAKED_PAGES
    assert one.run("document.getElementById('moments')") is None
    two = Page(driver, written(tmp_path / "two.html", oomscope.explain(captures.BEFORE_6_12, captures.CASE_6_12)))
    now, before = two.run("document.getElementById('moments').data.map((trace) => [trace.y[0], trace.x[0]])")
    assert (now, before) == (["leak_mb_write [leak]", captures.LEAKED_PAGES], ["leak_mb_write [leak]", 0])
    two.keep("two-moments")
    two.check()


@needs_browser
@pytest.mark.slow
def test_a_difference_is_seen(driver: webdriver.Chrome, tmp_path: Path) -> None:
    """What grew by how much, as text; all of it now, coloured by its change, and the growth alone, as flame graphs."""
    path = tmp_path / "diff.html"
    found = compare(captures.BEFORE_6_12, captures.CASE_6_12)
    path.write_text(page_of_difference(found), encoding="utf-8")
    page = Page(driver, path)
    assert page.text("h1") == f"leak_mb_write [leak] grew by {captures.LEAKED_PAGES:,} pages"
    flame = page.run("document.getElementById('flame').data[0]")
    colours = dict(zip(flame["labels"], flame["marker"]["colors"], strict=True))
    changes = dict(zip(flame["labels"], flame["customdata"], strict=True))
    assert flame["values"][0] == sum(after for _, _, after in found.stacks)
    assert (changes["leak_mb_write [leak]"], colours["leak_mb_write [leak]"][:14]) == (f"+{LEAKED}", "rgba(200,40,30")
    muted = page.run("getComputedStyle(document.documentElement).getPropertyValue('--muted-frame').trim()")
    assert colours["tty_register_device_attr"] == muted
    page.run("document.getElementById('flame-view').value = 'grown'")
    page.run("document.getElementById('flame-view').dispatchEvent(new Event('change'))")
    assert page.run("document.getElementById('flame').data[0].values[0]") >= captures.LEAKED_PAGES
    _zooms_and_searches(page, "leak_mb_write")
    page.keep("difference")
    page.check()


def _zooms_and_searches(page: Page, function: str) -> None:
    """A search marks what it finds and counts its pages; the button, and a click on a frame, zoom into it."""
    box = page.driver.find_element(By.ID, "flame-search")
    box.send_keys(function)
    assert "frames" in page.text("#flame-found")
    colours = page.run("document.getElementById('flame').data[0].marker.colors")
    labels = page.run("document.getElementById('flame').data[0].labels")
    muted = page.run("getComputedStyle(document.documentElement).getPropertyValue('--muted-frame').trim()")
    assert {label for label, colour in zip(labels, colours, strict=True) if colour != muted} == {
        label for label in labels if function in label
    }
    box.send_keys(Keys.ENTER)
    level = page.run("document.getElementById('flame').data[0].level")
    assert function in labels[int(level)]
    page.driver.find_element(By.ID, "flame-reset").click()
    assert page.run("document.getElementById('flame').data[0].level") == "0"
    frames = page.driver.find_elements(By.CSS_SELECTOR, "#flame g.slice")
    frame = next(each for each in frames if function in each.text)
    page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", frame)
    frame.click()
    deadline = time.monotonic() + 5
    while page.run("document.getElementById('flame').data[0].level") == "0" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert function in labels[int(page.run("document.getElementById('flame').data[0].level"))]


@needs_browser
def test_tables_sort_filter_and_findings_lead_to_lines(driver: webdriver.Chrome, tmp_path: Path) -> None:
    """By keyboard: a heading sorts, a filter leaves what it finds; a finding's line is a link to the line."""
    page = Page(driver, written(tmp_path / "tables.html", oomscope.explain(KMALLOC)))
    heads = page.driver.find_elements(By.CSS_SELECTOR, "table.sorts th.number button")
    body = "document.querySelectorAll('table.sorts')[1].tBodies[0]"
    order = f"[...{body}.rows].map((row) => Number(row.cells[1].dataset.value))"
    button = page.driver.find_elements(By.CSS_SELECTOR, "table.sorts")[1].find_elements(By.CSS_SELECTOR, "button")[1]
    button.send_keys(Keys.ENTER)
    assert page.run(order) == sorted(page.run(order), reverse=True)
    button.send_keys(Keys.ENTER)
    assert page.run(order) == sorted(page.run(order))
    assert heads
    page.driver.find_elements(By.CSS_SELECTOR, ".filter")[1].send_keys("write_way")
    shown = page.run(f"[...{body}.rows].filter((row) => !row.hidden).map((row) => row.textContent)")
    assert len(shown) == 1
    assert "write_way" in shown[0]
    assert base64.b64decode(page.driver.print_page()).startswith(b"%PDF")
    link = page.driver.find_element(By.CSS_SELECTOR, ".finding a")
    target = str(link.get_attribute("href")).rpartition("#")[2]
    assert page.driver.find_element(By.ID, target).text.startswith(link.text)
    page.check()


HOSTILE = "<script>document.title='owned'</script>"


@needs_browser
def test_hostile_names_are_text(driver: webdriver.Chrome, tmp_path: Path) -> None:
    """A symbol, a comm and a module that would be markup: shown as what they are, and nothing of them runs."""
    symbol = "</script><img/src=x/onerror=document.title='owned'>"
    record = replace(
        ORDINARY, comm=b"<b>&\x1b[2J", frames=(*ALLOCATOR, f"{symbol}+0x1/0x2 [<i>m]", f"{'f' * 500}+0x1/0x2")
    )
    (tmp_path / "page_owner").write_bytes(linux_6_12(record) * 7)
    (tmp_path / "bufinfo").write_text(
        "Dma-buf Objects:\n08294400\t00000002\t00080007\t00000004\tsystem\t00000011\t"
        f"{HOSTILE}{'n' * 10_000}\xff\u202e\n"
        "Total 1 objects, 8294400 bytes\n"
    )
    page = Page(driver, written(tmp_path / "hostile.html", oomscope.explain(tmp_path)))
    assert symbol in page.text("h1")
    assert page.run("document.title").startswith(symbol)
    assert HOSTILE in page.run("document.body.textContent")
    assert page.run("document.querySelectorAll('img, b b, main script').length") == 0
    assert any("onerror" in label for label in page.run("document.getElementById('flame').data[0].labels"))
    page.check()


@needs_browser
@pytest.mark.slow
def test_many_thousand_stacks(driver: webdriver.Chrome, tmp_path: Path) -> None:
    """Made in 3 times what explaining took, opened in 8 times what a small page takes beside it, below 10 MB.

    Of a few tries the best counts, for other tests run on the same processors.
    """
    lines = [
        (
            f" post_alloc_hook+0x1/0x2\n f{i % 977}+0x1/0x2\n g{i % 89}+0x{i % 13:x}/0x20 [m{i % 7}]\n h{i}+0x1/0x2\n"
            + "".join(f" c{i % (40 * depth + 3)}_{depth}+0x1/0x2\n" for depth in range(12))
            + f"nr_base_pages: {1 + i % 1009}\n\n"
        )
        for i in range(15_000)
    ]
    path = tmp_path / "show_stacks"
    path.write_text("".join(lines))
    started = time.process_time()
    verdict = oomscope.explain(path)
    explained_s = time.process_time() - started
    assert len(verdict.consumers) == 15_000
    small, large = written(tmp_path / "small.html", oomscope.explain(KMALLOC)), tmp_path / "large.html"
    made, opened = [], []
    for _ in range(5):
        started = time.process_time()
        written(large, verdict)
        made.append((time.process_time() - started) / explained_s)
        small_s = Page(driver, small).opened_s
        page = Page(driver, large)
        opened.append(page.opened_s / small_s)
        page.check()
        if min(made) < 3 and min(opened) < 8:
            break
    assert min(made) < 3
    assert min(opened) < 8
    assert large.stat().st_size < 10e6


def test_a_page_is_one_file_below_six_megabytes(tmp_path: Path) -> None:
    """Nothing in it points outside; its own policy forbids requests."""
    text = written(tmp_path / "page.html", oomscope.explain(KMALLOC)).read_text()
    assert len(text.encode()) < 6e6
    own = text[: text.index("<script type")]
    assert "http" not in own.replace("http-equiv", "")
    assert "default-src 'none'" in own
