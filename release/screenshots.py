"""The screenshots of docs/guide/html-page.md: the page of four real cases, in Chromium.

python -m release.screenshots
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

import oomscope
from oomscope.cli.explain import page_of

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
_CORPUS = ROOT / "tests/data/corpus"
# Each with the window that it is seen in: a desk, or a phone.
CASES = {
    "page-user-memory": (ROOT / "examples/kill-4.18.log", (1000, 720)),
    "page-memory-cgroup": (_CORPUS / "027-leaker-memcg-caller-id.log.zst", (390, 720)),
    "page-fragmentation": (_CORPUS / "063-nfs-mount-order5-96GB.log.zst", (1000, 720)),
    "page-stacks": (ROOT / "examples/leak-6.12", (1000, 720)),
}


def main() -> None:
    """Take them."""
    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    with tempfile.TemporaryDirectory() as folder:
        for name, (path, (width, height)) in CASES.items():
            page = Path(folder, f"{name}.html")
            page.write_text(page_of([oomscope.explain(path)]))
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < height}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            driver.get(page.as_uri())
            time.sleep(1)
            driver.save_screenshot(str(IMAGES / f"{name}.png"))
    driver.quit()


if __name__ == "__main__":
    main()
