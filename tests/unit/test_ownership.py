"""A file counts when it and its folder are this user's or root's, nobody else can write them, and it is no link."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import threading
from pathlib import Path

import pytest

from bazar_cli.adapters import ownership
from tests.support.file_states import IS_ROOT, STRANGER

ROOT_ONLY = pytest.mark.skipif(not IS_ROOT, reason="only root gives files away")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that counts."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    path = folder / "file"
    path.write_text("text")
    path.chmod(0o600)
    return path


def reason(path: Path, *, secret: bool = False, follow: bool = False) -> str:
    doubt = ownership.read(path, secret=secret, follow=follow).doubt
    return "" if doubt is None else doubt.reason


def private_groups(monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    def said(_gid: int, _uid: int) -> bool:
        return answer

    monkeypatch.setattr(ownership, "_is_private_group", said)


def test_ones_own_file_counts(file: Path) -> None:
    assert ownership.read(file) == ownership.Content(b"text", None)


@pytest.mark.parametrize("secret", [False, True])
@pytest.mark.parametrize("bits", range(0o600, 0o1000))
def test_every_mode_of_a_file(file: Path, bits: int, secret: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    private_groups(monkeypatch, False)
    file.chmod(bits)
    if not secret:
        assert bool(reason(file)) is bool(bits & 0o022)
    else:
        assert bool(reason(file, secret=True)) is bool(bits & 0o077)


@pytest.mark.parametrize("bits", [0o755, 0o775, 0o757, 0o777, 0o1777, 0o2775])
def test_a_folder_that_others_can_write_is_named(file: Path, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    private_groups(monkeypatch, False)
    file.parent.chmod(bits)
    doubt = ownership.read(file).doubt
    assert (doubt.folder_code if doubt else None) == ("files.folder_open" if bits & 0o022 else None)


def as_user(
    monkeypatch: pytest.MonkeyPatch, *, name: str = "ada", members: tuple[str, ...] = (), gid: int = 4711
) -> None:
    """Let the user of the tests be `ada` of the group 4711, and that group have a name and members."""

    def user(uid: int) -> pwd.struct_passwd:
        return pwd.struct_passwd(("ada", "x", uid, gid, "", "/home/ada", "/bin/sh"))

    def group(gid: int) -> grp.struct_group:
        return grp.struct_group((name, "x", gid, list(members)))

    monkeypatch.setattr(pwd, "getpwuid", user)
    monkeypatch.setattr(grp, "getgrgid", group)


@pytest.mark.parametrize(
    ("name", "members", "gid", "private"),
    [
        ("ada", (), 4711, True),
        ("ada", ("ada",), 4711, True),
        ("ada", ("ada", "bob"), 4711, False),
        ("users", (), 4711, False),
        ("ada", (), 0, False),
    ],
)
def test_what_umask_002_makes_counts_in_the_users_own_group_alone(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    members: tuple[str, ...],
    gid: int,
    private: bool,
) -> None:
    as_user(monkeypatch, name=name, members=members, gid=gid)
    found = os.stat_result((0o100664, 1, 1, 1, os.geteuid(), gid, 0, 0, 0, 0))
    assert ownership.is_open(found, file) is not private


def test_another_group_than_the_users_first_is_not_private(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_user(monkeypatch)
    found = os.stat_result((0o100664, 1, 1, 1, os.geteuid(), 4712, 0, 0, 0, 0))
    assert ownership.is_open(found, file)


def test_a_user_without_a_passwd_entry_has_no_private_group(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_uid: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    file.chmod(0o660)
    assert "can change it" in reason(file)


def test_an_access_list_may_let_others_in_whom_the_mode_does_not_show(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private_groups(monkeypatch, True)
    file.chmod(0o660)
    assert reason(file) == ""

    def listed(_path: Path) -> list[str]:
        return ["system.posix_acl_access"]

    monkeypatch.setattr(os, "listxattr", listed)
    assert "can change it" in reason(file)


@ROOT_ONLY
@pytest.mark.parametrize("which", ["file", "folder"])
def test_a_strangers_file_does_not_count_for_root_either(file: Path, which: str) -> None:
    os.chown(file if which == "file" else file.parent, STRANGER, STRANGER)
    assert f"belongs to another user, uid {STRANGER}" in reason(file)


@pytest.mark.parametrize("owner", [0, os.geteuid()])
def test_root_is_trusted(owner: int) -> None:
    assert ownership.is_owner_trusted(owner)


def test_a_link_is_doubted_and_read(file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to(file.name)
    assert reason(link) == "it is a link"
    assert ownership.read(link).data == b"text"
    assert reason(link, follow=True) == ""


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("kind", ["missing", "dangling", "circle", "folder", "below a file"])
def test_a_path_that_is_not_a_file_is_an_error_of_the_system(file: Path, kind: str, follow: bool) -> None:
    path = file.with_name("other")
    if kind in {"dangling", "circle"}:
        path.symlink_to("nowhere" if kind == "dangling" else path.name)
    elif kind == "folder":
        path.mkdir()
    elif kind == "below a file":
        path = file / "other"
    with pytest.raises(OSError) as found:
        ownership.read(path, follow=follow)
    wanted = {"circle": errno.ELOOP, "folder": errno.EISDIR, "below a file": errno.ENOTDIR}
    assert found.value.errno == wanted.get(kind, errno.ENOENT)
    assert found.value.filename in {str(path), str(path.parent)}


def test_a_pipe_is_never_waited_for(file: Path) -> None:
    pipe = file.with_name("pipe")
    os.mkfifo(pipe)
    with pytest.raises(ownership.NotRegular):
        ownership.read(pipe)
    assert ownership.read(pipe, follow=True).data == b""


def test_a_pipe_that_the_user_named_is_read_to_its_end(file: Path) -> None:
    read_end, write_end = os.pipe()
    writer = threading.Thread(target=lambda: (os.write(write_end, b"text"), os.close(write_end)))
    try:
        writer.start()
        assert ownership.read(Path(f"/dev/fd/{read_end}"), follow=True) == ownership.Content(b"text", None)
    finally:
        writer.join()
        os.close(read_end)


def test_a_huge_file_is_not_read_whole(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(OSError) as found:
        ownership.read(file)
    assert found.value.errno == errno.EFBIG


# -- remedies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o644, 0o666, 0o755, 0o757, 0o777, 0o1777])
@pytest.mark.parametrize("owner", [os.geteuid(), 0, STRANGER])
@pytest.mark.parametrize("kind", [stat.S_IFREG, stat.S_IFDIR])
def test_a_remedy_changes_only_what_is_the_users_own_and_not_shared(
    monkeypatch: pytest.MonkeyPatch, kind: int, owner: int, mode: int
) -> None:
    private_groups(monkeypatch, False)
    found = os.stat_result((kind | mode, 1, 1, 1, owner, owner, 0, 0, 0, 0))
    for user in (os.geteuid(), STRANGER + 1):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        doubt = ownership.doubt_of(found, Path("/its/path"), secret=kind == stat.S_IFREG)
        if doubt is None:
            continue
        may = owner == user and not (kind == stat.S_IFDIR and mode & stat.S_ISVTX)
        assert (" /its/path" in doubt.remedy, "chown" in doubt.remedy) == (may, False)
        assert doubt.remedy


@pytest.mark.parametrize("link", ["a", "a/b"])
def test_every_folder_below_the_one_named_is_looked_at(tmp_path: Path, link: str) -> None:
    file = tmp_path / "a/b/file"
    file.parent.mkdir(parents=True)
    file.write_text("text")
    assert ownership.read(file, below=tmp_path).doubt is None
    for folder in (tmp_path, tmp_path / "a", tmp_path / "a/b"):
        before = folder.stat().st_mode
        folder.chmod(0o757)
        doubt = ownership.read(file, below=tmp_path).doubt
        assert str(folder) in (doubt.reason if doubt else "")
        folder.chmod(before)
    (tmp_path / link).rename(tmp_path / "elsewhere")
    (tmp_path / link).symlink_to(tmp_path / "elsewhere")
    content = ownership.read(file, below=tmp_path)
    assert content == ownership.Content(b"text", content.doubt)
    assert content.doubt is not None
    assert "is a link" in content.doubt.reason
