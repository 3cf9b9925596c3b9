"""The generated files of the repository are those that the code makes now."""

from __future__ import annotations

import pytest

from tests.contracts.generate import ROOT, generated, reference
from tests.support.tree import ALL

COMMITTED = [
    *("completions/_bazar", "completions/bazar.bash", "completions/bazar.fish"),
    *("docs/commands.md", "docs/permissions.md"),
]


@pytest.fixture(scope="module")
def fresh() -> dict[str, str]:
    """Every generated file as it should be."""
    return {str(path): text for path, text in generated().items()}


def test_these_files_are_generated(fresh: dict[str, str]) -> None:
    assert sorted(fresh) == COMMITTED
    assert sorted(f"completions/{path.name}" for path in (ROOT / "completions").iterdir()) == COMMITTED[:3]


@pytest.mark.parametrize("name", COMMITTED)
def test_file_is_fresh(name: str, fresh: dict[str, str]) -> None:
    stale = f"{name} is not what the code makes: run `make generate`"
    assert (ROOT / name).is_file(), stale
    assert (ROOT / name).read_text(encoding="utf-8") == fresh[name], stale


def test_reference_says_where_it_comes_from_and_has_every_command() -> None:
    lines = reference().splitlines()
    assert "make generate" in lines[0]
    headings = [line.lstrip("#").removeprefix(" bazar ") for line in lines if line.startswith("##")]
    assert [name for name in headings if name in ALL] == list(ALL)


def test_reference_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    for columns in ("40", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        texts.append(reference())
    assert texts[0] == texts[1]
