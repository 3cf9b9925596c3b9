"""docs/first-steps.md: a newcomer's walk in a Debian with nothing but Python, and the record of it.

Each command of the page runs as an ordinary user at a terminal. `BAZAR_TEST_RECORD=1` writes the page with what they
print; without it the test compares. What differs from run to run is replaced, by text of the same length where a table
depends on it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Generator
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from bazar_cli import __version__
from tests.support.checkout import ROOT
from tests.support.debian_root import DebianRoot, Inside, debian_root, wheelhouse
from tests.support.distribution import build

PAGE = ROOT / "docs" / "first-steps.md"
_UID = 1000
_HOME = "/home/ada"
_BLOCK = re.compile(r"(?ms)^```console\n(.*?)^```$")
_CODE = "echo $?"
_VERSION = "X.Y.Z"
_COLUMNS = 110
_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_VOLATILE: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d"), "2026-01-31T12:00:00"),
    (re.compile(r"(?<=T12:00:00\.)\d+"), lambda found: "0" * len(found[0])),
    (re.compile(r"(?<=127\.0\.0\.1:)\d+"), lambda found: "54321"[: len(found[0])].ljust(len(found[0]), "0")),
    # A new revision changes nothing here.
    (re.compile(r"(?m)(^Applying \d+: .*\n)+"), "Applying ...\n"),
    (re.compile(r"(?<=/session-)[0-9a-f]+"), lambda found: "0" * len(found[0])),
)

pytestmark = [
    pytest.mark.debian,
    pytest.mark.xdist_group("debian"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the files of a distribution are those that Git knows"),
]


@pytest.fixture
def machine(tmp_path: Path) -> Generator[Inside]:
    """A Debian with Python, an ordinary user, and the wheel in that user's home; no network is asked for packages."""
    wheel = build(tmp_path).wheel
    with debian_root() as root:
        wheels = wheelhouse(root.python_version, *requirements(wheel, root))
        with root.entered(binds={wheels: "/wheels"}) as inside:
            inside.run("useradd", "--create-home", "--uid", str(_UID), "ada").ok()
            shutil.copy(wheel, root.folder / _HOME.lstrip("/"))
            yield inside


def requirements(wheel: Path, root: DebianRoot) -> list[str]:
    """Return what the wheel and its extra `local` ask for on the Python of the root."""
    with ZipFile(wheel) as archive:
        metadata = Parser().parsestr(archive.read(f"bazar_cli-{__version__}.dist-info/METADATA").decode())
    found = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    wanted = [
        each
        for each in found
        if each.marker is None
        or any(each.marker.evaluate({"python_version": root.python_version, "extra": e}) for e in ("", "local"))
    ]
    return sorted(str(each).partition(";")[0].strip() for each in wanted)


def walk(page: str, inside: Inside) -> str:
    """Run the commands of a page; return the page with what they print.

    A command may fail where `echo $?` follows it.
    """
    exports: list[str] = []
    ids: dict[str, str] = {}
    code = 0
    unexpected: list[str] = []

    def ran(block: re.Match[str]) -> str:
        nonlocal code
        lines: list[str] = []
        for command in (line[2:] for line in block[1].splitlines() if line.startswith("$ ")):
            if command.startswith("export "):
                exports.append(command)
            if code and command != _CODE:
                unexpected.append(f"exit {code} before `{command}`")
            code, shown = run(inside, exports, command.replace(_VERSION, __version__), code)
            lines += [f"$ {command}", *(line.rstrip() for line in normalized(shown, ids).splitlines())]
        return "```console\n" + "\n".join(lines) + "\n```"

    found = _BLOCK.sub(ran, page)
    assert (unexpected, code) == ([], 0), found
    return found


def run(inside: Inside, exports: list[str], command: str, code: int) -> tuple[int, str]:
    """Run one command at a terminal; return its exit code and what the terminal shows.

    Parameters: `code` is the exit code of the command before, for `echo $?`.
    """
    script = "\n".join([*exports, f"stty cols {_COLUMNS}", f"(exit {code})", command])
    environ = {
        "HOME": _HOME,
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "NO_COLOR": "1",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "/wheels",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    done = inside.run(
        *("script", "--quiet", "--return", "--command", script, "/dev/null"),
        uid=_UID,
        gid=_UID,
        environ=environ,
        cwd=_HOME,
    )
    return done.code, done.out.replace("\r\n", "\n")


def normalized(text: str, ids: dict[str, str]) -> str:
    """Replace what differs from run to run."""

    def number(found: re.Match[str]) -> str:
        return ids.setdefault(found[0], f"0193b3c4-0000-7000-8000-{len(ids) + 1:012}")

    text = _ID.sub(number, text).replace(__version__, _VERSION)
    for pattern, replacement in _VOLATILE:
        text = pattern.sub(replacement, text)
    return text


def test_newcomer_installs_creates_a_user_is_denied_and_resets(machine: Inside) -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = walk(page, machine)
    if os.environ.get("BAZAR_TEST_RECORD"):
        PAGE.write_text(found, encoding="utf-8")
        page = found
    assert "$ echo $?\n5\n" in found, "the first denial"
    assert "ada@example.com" not in found.rpartition("bazar users list")[2], "the first reset"
    assert found.splitlines() == page.splitlines(), "run it with BAZAR_TEST_RECORD=1, and read the changes"
