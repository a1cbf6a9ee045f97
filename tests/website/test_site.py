"""The documentation as a site: whole, linked, searchable without a network, and made of what the code says."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from oomscope.cli import cli
from oomscope.report.fields import fields
from website.site_pages import ROOT, build_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from this checkout; a page that is missing ends it."""
    out = tmp_path_factory.mktemp("site") / "out"
    build_site(out)
    return out


def test_no_link_leads_nowhere_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """Whatever is loaded, or linked within the site, is in it."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        text = page.read_text()
        for kind, target in re.findall(r'<(?:\w+)[^>]*? (href|src)="([^"]+)"', text):
            if target.startswith(("#", "data:")) or (kind == "href" and "://" in target):
                continue
            if "explain/index.html" in target:
                continue  # the page in the browser is built beside it
            assert "://" not in target, (page, target)
            assert (page.parent / target.partition("#")[0].partition("?")[0]).exists(), (page, target)


def test_every_page_of_the_repository_is_in_it(site: Path) -> None:
    """And the tutorials."""
    for path in (ROOT / "docs").rglob("*.md"):
        assert (site / "docs" / path.relative_to(ROOT / "docs").with_suffix(".html")).is_file(), path
    for path in (ROOT / "website/pages").rglob("*.md"):
        assert (site / path.relative_to(ROOT / "website/pages").with_suffix(".html")).is_file(), path


def test_the_reference_is_the_code(site: Path) -> None:
    """Every command with its options, every field with its meaning, every schema."""
    commands = (site / "reference/commands.html").read_text()
    for name, command in cli.commands.items():
        assert f"oomscope {name}" in commands or f">{name}<" in commands, name
        shown = [each for each in command.params if not getattr(each, "hidden", False)]
        for option in (option for each in shown for option in each.opts if option.startswith("--")):
            assert option in commands, (name, option)
    glossary = html.unescape(re.sub(r"<[^>]+>", "", (site / "reference/fields.html").read_text()))
    for field in fields():
        assert field.name in glossary, field
        assert field.meaning.replace("'", "\u2019") in glossary.replace("'", "\u2019"), field
    for name in ("oomscope-1", "oomscope-triage-1"):
        assert (site / f"schemas/{name}.schema.json").is_file()


def test_it_is_searched_without_a_network(site: Path) -> None:
    """The index lies in the site, and has the words that people look for."""
    index = (site / "searchindex.js").read_text()
    for word in ("page_own", "kswapd", "watermark", "cgroup", "lowmem_reserv"):
        assert word in index
