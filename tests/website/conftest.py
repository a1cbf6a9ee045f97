"""Chromium for the pages, and what is asked of any of them."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

import website.__main__ as site

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
NEEDED = [
    pytest.mark.slow,
    pytest.mark.skipif(None in (CHROMIUM, DRIVER), reason="no browser: apt-get install chromium chromium-driver"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="no npm: apt-get install npm"),
]
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}


def resize(driver: webdriver.Chrome, size: str) -> None:
    """A phone held upright, or a desk."""
    width, height = SIZES[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def serious(driver: webdriver.Chrome) -> list[tuple[str, list[object]]]:
    """What axe-core finds that keeps somebody from reading the page."""
    axe = (site.HERE / "node_modules/axe-core/axe.min.js").read_text()
    driver.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
    found = driver.execute_async_script("axe.run().then(arguments[0])")
    return [
        (each["id"], [node["target"] for node in each["nodes"]][:5])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, built from this checkout."""
    out = tmp_path_factory.mktemp("website")
    with (site.HERE / "node_modules.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other processes of this run fetch the same
        site.fetch()
    site.build(out)
    return out


@pytest.fixture(scope="session")
def driver() -> Iterator[webdriver.Chrome]:
    options = Options()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    made.set_script_timeout(120)
    yield made
    made.quit()
