"""Links between the pages of the repository lead to a file, and to a heading or an anchor in it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.contracts.generate import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bazar_cli").rglob("*.md")])
_FENCED = re.compile(r"^```.*?^```", re.M | re.S)
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")


@cache
def text_of(page: Path) -> str:
    """Return a page without its blocks of code."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


@cache
def fragments(page: Path) -> set[str]:
    """Return what can follow `#` in a link to a page: headings as GitHub spells them, and anchors."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.M)
    spelled = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
    return spelled | set(re.findall(r'<a id="([^"]+)">', text_of(page)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_the_page_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(text_of(page)):
        name, _, fragment = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not fragment or fragment in fragments(target), link


def test_the_index_of_the_reference_leads_to_every_page() -> None:
    folder = ROOT / "docs" / "cli"
    links = {link.partition("#")[0] for link in _LINK.findall(text_of(folder / "README.md"))}
    assert links >= {path.name for path in folder.iterdir()} - {"README.md"}
