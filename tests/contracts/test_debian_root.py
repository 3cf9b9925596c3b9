"""The Debian root of other tests: users, a root that cannot be changed, packages without a network, nothing left."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.debian_root import DebianRoot, debian_root, wheelhouse
from tests.support.waiting import poll

pytestmark = [pytest.mark.debian, pytest.mark.xdist_group("debian")]


@pytest.fixture(scope="module")
def root() -> Generator[DebianRoot]:
    with debian_root() as made:
        yield made


def test_commands_run_as_the_user_with_nothing_but_the_given_environment(root: DebianRoot) -> None:
    with root.entered(tmpfs=("/home/them",)) as inside:
        script = 'echo "$(id --user) $(id --group) $(id --groups) $PWD $NAME $HOME"; touch mine'
        done = inside.run("sh", "-c", script, uid=1234, gid=5678, environ={"NAME": "ada"}, cwd="/home/them")
    assert done.ok().out == "1234 5678 5678 /home/them ada \n"


def test_read_only_root_and_binds_cannot_be_changed(root: DebianRoot, tmp_path: Path) -> None:
    with root.entered(read_only=True, binds={tmp_path: "/given"}) as inside:
        for folder in ("/", "/tmp", "/given"):
            assert "Read-only file system" in inside.run("touch", f"{folder}/file").err
    assert not list(tmp_path.iterdir())


def test_daemons_live_between_commands_and_end_with_the_visit(root: DebianRoot) -> None:
    with root.entered() as inside:
        inside.run("sh", "-c", "sleep 86398 </dev/null >/dev/null 2>&1 &").ok()
        assert sleepers() == 1
        inside.run("sh", "-c", "grep -q 86398 /proc/[0-9]*/cmdline").ok()
    poll(lambda: sleepers() == 0)
    assert str(root.folder) not in Path("/proc/mounts").read_text()


def sleepers() -> int:
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes() == b"sleep\x0086398\x00"
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_wheels_of_a_wheelhouse_install_without_an_index(root: DebianRoot) -> None:
    wheels = wheelhouse(root.python_version, "anyascii")
    with root.entered(binds={wheels: "/wheels"}) as inside:
        inside.run("python3", "-m", "venv", "/venv").ok()
        inside.run("/venv/bin/pip", "install", "--no-index", "--find-links", "/wheels", "anyascii").ok()
        assert inside.run("/venv/bin/python", "-c", "print(__import__('anyascii').anyascii('å'))").ok().out == "a\n"
