"""A file that a command was asked to write: whole, private and new, or not there at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest

from bazar_cli.adapters.files import new_private_text
from bazar_cli.domain.errors import BazarError


def write(path: Path, act: Callable[[TextIO], object] = lambda _stream: None, *, overwrite: bool = False) -> None:
    with new_private_text(path, overwrite=overwrite) as stream:
        stream.write("line\n")
        act(stream)


def fill_the_disk(stream: TextIO) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, stream.fileno())
    os.close(full)
    stream.write("x" * 1_000_000)


def fail(_stream: TextIO) -> None:
    raise ZeroDivisionError


def test_it_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "events"
    write(path, lambda _stream: path.write_text("another's") and path.unlink())
    assert path.read_text() == "line\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("act", [fill_the_disk, fail], ids=["no room", "an error"])
def test_what_fails_leaves_what_was_there(tmp_path: Path, act: Callable[[TextIO], object]) -> None:
    path = tmp_path / "events"
    path.write_text("before")
    with pytest.raises((BazarError, ZeroDivisionError)) as failed:
        write(path, act, overwrite=True)
    assert getattr(failed.value, "code", "files.no_room") == "files.no_room"
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "events"
    with pytest.raises(BazarError) as refused:
        write(path, lambda _stream: path.write_text("another's"))
    assert refused.value.code == "files.exists"
    assert path.read_text() == "another's"


@pytest.mark.parametrize("kind", ["folder", "link", "dangling link"])
def test_only_a_file_is_overwritten_by_its_name(tmp_path: Path, kind: str) -> None:
    path, elsewhere = tmp_path / "events", tmp_path / "elsewhere"
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(elsewhere)
    if kind == "link":
        elsewhere.write_text("kept")
    with pytest.raises(BazarError) as refused:
        write(path)
    assert refused.value.code == "files.exists"
    if kind == "folder":
        with pytest.raises(BazarError) as refused:
            write(path, overwrite=True)
        assert refused.value.code == "files.unwritable"
    else:
        write(path, overwrite=True)
        assert path.read_text() == "line\n"
        assert not path.is_symlink()
        assert kind == "dangling link" or elsewhere.read_text() == "kept"
