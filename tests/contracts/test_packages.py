"""The sdist and the wheel: what is in them, and what each Python and each installer make of them."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from bazar_cli import DOCUMENTATION, __version__
from tests.support.checkout import ROOT
from tests.support.distribution import PLANTED, Distributions, build, tracked
from tests.support.pythons import OLD_PYTHONS, PYTHONS

pytestmark = [
    pytest.mark.packages,
    pytest.mark.xdist_group("packages"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the files of a distribution are those that Git knows"),
]
_TREES = {
    "bazar_cli": "bazar_cli",
    "migrations": "bazar_cli/_migrations",
    "man": f"bazar_cli-{__version__}.data/data/share/man",
}
"""The folders of the checkout that are in the wheel, and where."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """The distributions of this checkout."""
    return build(tmp_path_factory.mktemp("built"))


def test_sdist_is_the_whole_checkout_and_nothing_else(built: Distributions) -> None:
    assert built.sdist_names == tracked() | {"PKG-INFO"}
    assert not built.sdist_names & set(PLANTED)


def test_wheel_is_the_same_from_the_sdist_and_from_the_checkout(built: Distributions) -> None:
    assert built.wheel.name == built.wheel_of_tree.name == f"bazar_cli-{__version__}-py3-none-any.whl"
    assert built.wheel.read_bytes() == built.wheel_of_tree.read_bytes()


def test_wheel_is_the_package_with_its_migrations_and_metadata(built: Distributions) -> None:
    expected = {
        place + name.removeprefix(folder)
        for folder, place in _TREES.items()
        for name in tracked()
        if name.startswith(f"{folder}/")
    }
    info = f"bazar_cli-{__version__}.dist-info"
    own = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")}
    assert set(built.wheel_names) == expected | own
    assert "bazar_cli/py.typed" in built.wheel_names


def test_metadata_name_version_pythons_and_extras(built: Distributions) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        metadata = Parser().parsestr(archive.read(f"bazar_cli-{__version__}.dist-info/METADATA").decode())
    assert (metadata["Name"], metadata["Version"]) == ("bazar-cli", __version__)
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata.get_all("Provides-Extra") == ["dev", "local", "server"]
    assert metadata["License-Expression"] == "Apache-2.0"


def test_description_for_an_index_has_no_relative_link(built: Distributions) -> None:
    """An index shows README.md outside of the repository."""
    with zipfile.ZipFile(built.wheel) as archive:
        text = archive.read(f"bazar_cli-{__version__}.dist-info/METADATA").decode()
    base = DOCUMENTATION.removesuffix("docs")
    readme = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", readme)
    assert "LICENSE" in links
    assert re.findall(r"\]\(([^)]+)\)", text) == [link if link.startswith("https:") else base + link for link in links]
    assert "Description-Content-Type: text/markdown\n" in text


def test_checks_of_an_index_find_nothing(built: Distributions) -> None:
    bin_folder = Path(sys.executable).parent
    for command in (["twine", "check", "--strict", built.sdist, built.wheel], ["check-wheel-contents", built.wheel]):
        words = [bin_folder / str(command[0]), *command[1:]]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("python", PYTHONS.values(), ids=[".".join(map(str, version)) for version in PYTHONS])
def test_each_python_installs_the_wheel_and_starts(built: Distributions, tmp_path: Path, python: Path) -> None:
    """Without its dependencies, which the version, help and completion do not import."""
    subprocess.run([python, "-m", "venv", "--without-pip", tmp_path], check=True)
    installed = tmp_path / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", installed, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--disable-pip-version-check", built.wheel], check=True)
    for words, said in {
        ("--version",): f"bazar {__version__}\n",
        ("users", "list", "--help"): "List the users",
        ("__complete", "users", "cre"): "create",
    }.items():
        done = subprocess.run([tmp_path / "bin" / "bazar", *words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(said)


@pytest.mark.parametrize("python", OLD_PYTHONS, ids=lambda path: path.parents[1].name)
def test_old_python_refuses_the_wheel_in_a_sentence(built: Distributions, tmp_path: Path, python: Path) -> None:
    # Its own pip: a pip for newer Pythons does not run there. `--no-deps`, because an old pip looks for these first.
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--no-index", "--no-deps"]
    done = subprocess.run([*pip, "--target", tmp_path, built.wheel], capture_output=True, text=True, check=False)
    if "No module named pip" in done.stderr:
        pytest.skip("this Python has no pip")
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert re.search(r"requires (a different )?Python.*>=3\.10", said)
    assert not list(tmp_path.iterdir())
