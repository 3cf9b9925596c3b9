"""The man pages: the programs that show manuals accept each page, and show what help says."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path
from shutil import which

import pytest

from bazar_cli import __version__
from bazar_cli.registry import TOPICS
from bazar_cli.terminal import topics
from bazar_cli.terminal.command_texts import command_text
from bazar_cli.terminal.help_text import Terms
from tests.contracts.generate import ROOT
from tests.support.tree import ALL

FOLDER = ROOT / "man"
PAGES = sorted(FOLDER.glob("man*/*"))
_NO_DATE = re.compile(r'WARNING: missing date, using "": TH$')
"""The pages have no date, so that the same sources make the same pages."""

pytestmark = pytest.mark.xdist_group("man pages")
needs_man = pytest.mark.skipif(which("man") is None, reason="man is not installed")


@cache
def shown(name: str, section: str = "1") -> str:
    """Return what `man` shows, in 80 columns and without overstrikes; it must warn of nothing."""
    environ = {"PATH": os.environ["PATH"], "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANROFFOPT": "-c"}
    words = ["man", "--warnings", "-M", FOLDER, section, name]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return re.sub(r".\x08", "", done.stdout)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
@pytest.mark.skipif(which("mandoc") is None, reason="mandoc is not installed")
def test_mandoc_finds_nothing(page: Path) -> None:
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, check=False)
    assert [line for line in done.stdout.splitlines() if not _NO_DATE.search(line)] == []


@needs_man
@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_man_shows_the_page_and_the_version(page: Path) -> None:
    last = shown(page.stem, page.suffix[1:]).rstrip().splitlines()[-1]
    assert re.fullmatch(rf"bazar {re.escape(__version__)} +{page.stem.upper()}\({page.suffix[1:]}\)", last)


@needs_man
@pytest.mark.parametrize("name", ALL)
def test_the_page_of_the_group_has_the_command(name: str) -> None:
    group, _, rest = name.partition(" ")
    page = shown(f"bazar-{group}" if rest else "bazar")
    section = re.split(r"^(?:[A-Z]|   \S)", page.partition(f"\n   bazar {name}\n")[2], maxsplit=1, flags=re.M)[0]
    text = command_text(ALL[name][1].module)
    said = " ".join(section.split())
    assert text.purpose.replace("`", "") in said
    for example in text.examples:
        assert f"           $ {example}\n" in section
    for option in text.options:
        assert f"{option.names[0]} {option.metavar}".rstrip() in section
        assert option.help.replace("`", "") in said


@needs_man
@pytest.mark.parametrize("topic", TOPICS)
def test_the_page_of_a_topic_has_its_terms(topic: str) -> None:
    page = shown(f"bazar-{topic}", "7")
    for block in topics.TOPICS[topic]:
        for term, text in block.rows if isinstance(block, Terms) else []:
            assert f"       {term}" in page
            assert text.replace("`", "") in " ".join(page.split())


@needs_man
def test_pages_refer_to_pages_that_exist() -> None:
    names = {f"{page.stem}({page.suffix[1:]})" for page in PAGES}
    texts = [shown(page.stem, page.suffix[1:]) for page in PAGES]
    found = {name for text in texts for name in re.findall(r"bazar[a-z-]*\(\d\)", text)}
    assert found == names
