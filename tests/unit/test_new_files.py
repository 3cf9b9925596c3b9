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


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link(path: Path) -> None:
    (path.parent / "elsewhere").write_text("kept")
    path.symlink_to("elsewhere")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("make", [Path.mkdir, a_pipe, a_link, a_dangling_link])
def test_only_a_file_is_replaced(tmp_path: Path, make: Callable[[Path], None], overwrite: bool) -> None:
    path = tmp_path / "events"
    make(path)
    before = {p: p.lstat() for p in tmp_path.iterdir()}
    with pytest.raises(BazarError) as refused:
        write(path, overwrite=overwrite)
    assert (refused.value.code, "> FILE" in (refused.value.hint or "")) == ("files.not_regular", True)
    assert {p: p.lstat() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["missing/events", "x" * 300, "file/events"])
def test_errors_name_the_file_as_it_was_given(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BazarError) as failed, new_private_text(tmp_path / name, overwrite=True, named=name):
        pass
    assert (failed.value.code, failed.value.message.split(" cannot")[0]) == ("files.unwritable", name)
