"""The page of a fleet in a real browser: it leads from each cluster to its cases, and nothing leaves it."""

from __future__ import annotations

from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By

from oomscope.report.page import triage
from oomscope.triage import clusters
from tests.report.test_page import Page, driver, needs_browser
from tests.support.fleets import lay_out, triaged, write

__all__ = ["driver"]  # the fixture


@needs_browser
def test_the_page_of_a_fleet_works(driver: webdriver.Chrome, tmp_path: Path) -> None:
    """The sentence first; a cluster's id leads to it, its clearest case is shown where it stands."""
    write(lay_out(tmp_path / "fleet") / "empty.log", b"")
    cases = triaged(tmp_path / "fleet")
    told = clusters.triage_of(cases)
    path = tmp_path / "triage.html"
    path.write_text(triage.render(told, cases, made="2024-02-29T12:00:00+00:00"))
    page = Page(driver, path)
    assert page.text("h1").endswith("incomplete")
    assert "1 of" in page.text(".warning")
    cluster = told.clusters[-1]
    row = driver.find_element(By.LINK_TEXT, cluster.id)
    row.click()
    assert page.run("location.hash") == f"#cluster-{cluster.id}"
    article = driver.find_element(By.ID, f"cluster-{cluster.id}")
    assert str(cluster.signature) in article.text
    details = article.find_element(By.TAG_NAME, "details")
    assert details.get_attribute("open") is None
    article.find_element(By.LINK_TEXT, cluster.example).click()
    assert details.get_attribute("open") is not None
    (link,) = details.find_elements(By.PARTIAL_LINK_TEXT, cluster.example)
    assert Path(str(link.get_attribute("href")).removeprefix("file://").partition("#")[0]).exists()
    assert page.run("document.querySelectorAll('#timeline .bars path').length") > 0
    page.keep("fleet")
    page.check()
