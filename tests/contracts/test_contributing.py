"""The pages for contributors: the five steps work in a copy, and every page that is named is in the repository."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.generate import ROOT

PAGE = ROOT / "CONTRIBUTING.md"
_COPIED = ("bazar_cli", "migrations", "tests", "docs", "completions", "man")
_FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile")
_STEP = re.compile(
    r"<!-- (?P<what>create|append to|before `(?P<anchor>.+?)` in|replace `(?P<old>.+?)` with `(?P<new>.+?)` in)"
    r" (?P<file>\S+) -->\n(?:```\w*\n(?P<block>.*?)^```$)?",
    re.S | re.M,
)
_OUTSIDE = re.compile(
    r"\bdesign section|\(facts,|\bfacts, section|\(contract:|\bas the contract\b|cli-contract|design\.md"
)
"""How comments named pages that no reader of the repository has."""
_PAGE = re.compile(r"\bdocs/[\w/.-]+\.md\b")
_TESTS = ("test_tree.py", "test_generated.py", "test_examples.py", "test_matrix.py", "test_layers.py")


def follow(page: str, folder: Path) -> int:
    """Do in `folder` what the comments of the page say; return how many steps that were.

    The comments stand before the blocks, where a reader of the page does not see them. A quote in an anchor stands for
    a backquote, which would end it.
    """
    steps = list(_STEP.finditer(page))
    for step in steps:
        path = folder / step["file"]
        if step["what"] == "create":
            assert not path.exists(), step["file"]
            path.write_text(step["block"])
            continue
        text = path.read_text()
        if step["what"] == "append to":
            path.write_text(f"{text}\n\n{step['block']}")
            continue
        old = step["old"] or step["anchor"].replace("'", "`")
        assert old in text, f"{step['file']} has no {old!r}"
        at = text.index(old)
        if step["anchor"]:
            at = text.rindex("\n", 0, at) + 1
            path.write_text(text[:at] + step["block"] + text[at:])
        else:
            path.write_text(text[:at] + step["new"] + text[at + len(old) :])
    return len(steps)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which the page was followed."""
    if (ROOT / "bazar_cli" / "commands" / "users" / "count.py").exists():
        pytest.skip("this checkout has the example of CONTRIBUTING.md already: undo it to test the page")
    folder = tmp_path_factory.mktemp("contributing") / "copy"
    for name in _COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _FILES:
        shutil.copy(ROOT / name, folder)
    assert follow(PAGE.read_text(), folder) == PAGE.read_text().count("<!-- ")
    run(folder, "-m", "tests.contracts.generate")
    return folder


def run(folder: Path, *words: str) -> str:
    """Run Python in the copy and return what it printed."""
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.packages
def test_command_of_the_page_runs_and_keeps_every_contract(copy: Path) -> None:
    files = [
        *(f"tests/contracts/{name}" for name in _TESTS),
        "tests/unit/test_views.py",
        "tests/cli/users/test_count.py",
    ]
    # Names of the command, and of the tests that look at all commands at once.
    chosen = "count or test_layers or test_file_is_fresh or test_reference or public or files_are_where"
    done = run(copy, "-m", "pytest", "-q", "-p", "no:randomly", "-k", chosen, *files)
    assert re.search(r"\d+ passed", done), done


@pytest.mark.packages
def test_blocks_of_the_page_are_in_the_style_of_the_house(copy: Path) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    for words in (("check",), ("format", "--check")):
        done = subprocess.run([ruff, *words, "--no-cache", "."], cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_nothing_refers_to_a_document_outside_of_the_repository() -> None:
    files = [
        path
        for folder in ("bazar_cli", "migrations", "tests", "benchmarks", "docs")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".md"} and path != Path(__file__)
    ]
    assert len(files) > 500
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (*files, *(ROOT / name for name in _FILES))
        for line in path.read_text(encoding="utf-8").splitlines()
        if _OUTSIDE.search(line) or any(not (ROOT / name).exists() for name in _PAGE.findall(line))
    ]
    assert found == []
