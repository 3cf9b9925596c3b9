"""A clean Debian with Python in a folder, and commands in it as a user: no container engine is needed.

debootstrap makes it once for each suite, apt adds packages, and the user's cache keeps both. A test gets a copy.
Commands run in namespaces of mounts and processes, so that a test leaves neither behind, even if it is killed.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import pytest

from tests.support.checkout import ROOT
from tests.support.cli import Done
from tests.support.postgres import folder_in_memory

SUITE = "trixie"
PACKAGES = ("python3", "python3-venv")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TOOLS = ("chroot", "debootstrap", "mount", "nsenter", "unshare")
_CACHE = platformdirs.user_cache_path("bazar-tests")
_ENTER = """\
set -e
read -r pid _ </proc/self/stat  # still the outer /proc, so the number that nsenter needs
root=$1 mode=$2
shift 2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
  mkdir -p "$root$2"
  mount --bind "$1" "$root$2"
  mount -o remount,bind,ro "$root$2"
  shift 2
done
shift
for folder; do
  mkdir -p "$root$folder"
  mount -t tmpfs -o mode=1777 tmpfs "$root$folder"
done
mount -o "remount,bind,$mode,exec,suid,dev" "$root"  # a folder in memory may have none of these
trap '' CHLD  # orphans leave no zombies
echo "$pid"
exec cat  # ends with the test's process, and takes all processes and mounts along
"""


@functools.cache
def missing() -> str | None:
    """Return why no root can be made or entered here, None if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a Debian root needs Linux and root"
    for tool in _TOOLS:
        if shutil.which(tool, path=_PATH) is None:
            return f"{tool} is not installed (Debian: apt-get install debootstrap util-linux)"
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True)
    return None if tried.returncode == 0 else f"no namespaces here: {tried.stderr.strip()}"


@dataclass(frozen=True)
class Inside:
    """An entered root: its processes live until the root is left."""

    root: Path
    pid: int

    def run(
        self,
        *words: str,
        uid: int = 0,
        gid: int = 0,
        environ: Mapping[str, str] | None = None,
        cwd: str = "/",
        stdin: str = "",
    ) -> Done:
        """Run a command as a user by number. Its environment is PATH and `environ`."""
        enter = [_tool("nsenter"), "--target", str(self.pid), "--mount", "--pid", "--"]
        change = [_tool("chroot"), f"--userspec={uid}:{gid}", "--groups=", str(self.root), "env", f"--chdir={cwd}"]
        done = subprocess.run(
            [*enter, *change, "--", *words],
            env={"PATH": _PATH, **(environ or {})},
            input=stdin,
            capture_output=True,
            text=True,
        )
        return Done(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class DebianRoot:
    """The folder of a Debian, for one test."""

    folder: Path

    @property
    def python_version(self) -> str:
        """The version of its `python3`, such as 3.13."""
        return (self.folder / "usr/bin/python3").readlink().name.removeprefix("python")

    @contextmanager
    def entered(
        self, *, read_only: bool = False, binds: Mapping[Path, str] | None = None, tmpfs: Sequence[str] = ()
    ) -> Generator[Inside]:
        """Mount it and yield a place to run commands. It shares the network of the machine.

        Args:
            read_only: whether its files cannot be changed, as by `docker run --read-only`.
            binds: folders of the machine, with the place where each is seen, read-only.
            tmpfs: places that anyone may write, empty at first.
        """
        shown = [word for source, place in (binds or {}).items() for word in (str(source), place)]
        settings = [str(self.folder), "ro" if read_only else "rw", *shown, "--", *tmpfs]
        unshare = [_tool("unshare"), "--mount", "--pid", "--fork", "--kill-child"]
        holder = subprocess.Popen(
            [*unshare, "sh", "-c", _ENTER, "enter", *settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            assert holder.stderr is not None
            pid = holder.stdout.readline()
            assert pid, holder.stderr.read()
            try:
                yield Inside(self.folder, int(pid))
            finally:
                holder.stdin.close()
                holder.wait()


@contextmanager
def debian_root(
    *, suite: str = SUITE, packages: Sequence[str] = PACKAGES, copied: Path | None = None
) -> Generator[DebianRoot]:
    """Yield a copy of a clean Debian, or of the root `copied`; skips the test where there can be none."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    key = f"debian-{suite}-{platform.machine()}-{_digest(suite, *sorted(packages))}"
    made = copied or _cached(
        key, lambda made: _install(made, suite, packages) if packages else _debootstrap(made, suite)
    )
    folder = folder_in_memory("bazar-debian-", f"-{uuid.uuid4().hex}") or Path(tempfile.mkdtemp(prefix="debian-"))
    try:
        # The devices of its /dev too, which `shutil` would read.
        subprocess.run(["cp", "--archive", str(made), str(folder / "root")], check=True)
        yield DebianRoot(folder / "root")
    finally:
        shutil.rmtree(folder)


def wheelhouse(python_version: str, *requirements: str) -> Path:
    """Return a folder with the wheels of `requirements` and of all that they need, as constraints.txt pins them.

    Args:
        python_version: such as 3.13; `DebianRoot.python_version` says it.
        requirements: names, or wheels of the checkout by path.
    """
    pins = ROOT / "constraints.txt"
    contents = [Path(word).read_bytes() if Path(word).is_file() else word.encode() for word in requirements]
    key = f"wheels-{python_version}-{_digest(pins.read_bytes(), *contents)}"

    def download(made: Path) -> None:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        chosen = ["--only-binary", ":all:", "--python-version", python_version, "--constraint", str(pins)]
        subprocess.run([*pip, *chosen, "--dest", str(made), *requirements], check=True)

    return _cached(key, download)


def _tool(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    assert found is not None, f"{name} is missing"
    return found


def _digest(*parts: str | bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update((part.encode() if isinstance(part, str) else part) + b"\0")
    return found.hexdigest()[:12]


def _cached(key: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of the cache; one process makes it, and others wait for it."""
    folder = _CACHE / key
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(prefix=f"{key}.", dir=_CACHE) as parts:
                made = Path(parts) / "made"
                made.mkdir(mode=0o755)
                make(made)
                made.rename(folder)
    return folder


def _debootstrap(folder: Path, suite: str) -> None:
    mirror = _mirror()
    command = [_tool("debootstrap"), "--variant=minbase", suite, "/mnt/root", *([mirror] if mirror else [])]
    # In memory: dpkg waits for the disk after each file.
    script = 'to=$1; shift; mount -t tmpfs tmpfs /mnt && "$@" && cp --archive /mnt/root/. "$to"'
    unshare = [_tool("unshare"), "--mount", "sh", "-c", script, "debootstrap", str(folder)]
    done = subprocess.run([*unshare, *command], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"debootstrap made no {suite}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    for left in (*folder.glob("var/cache/apt/archives/*.deb"), *folder.glob("var/lib/apt/lists/*_*")):
        left.unlink()
    # As in Debian's own images.
    (folder / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")


def _install(folder: Path, suite: str, packages: Sequence[str]) -> None:
    folder.rmdir()
    with debian_root(suite=suite, packages=()) as root:
        with root.entered() as inside:
            install = ("apt-get", "install", "--quiet", "--yes", "--no-install-recommends")
            for words in (("apt-get", "update"), (*install, *packages), ("apt-get", "clean")):
                inside.run(*words, environ={"DEBIAN_FRONTEND": "noninteractive"}).ok()
        subprocess.run(["cp", "--archive", str(root.folder), str(folder)], check=True)


def _mirror() -> str | None:
    """Return the first mirror of the machine's own sources if it is a Debian; debootstrap knows one for the others."""
    if platform.freedesktop_os_release().get("ID") != "debian":
        return None
    sources = Path("/etc/apt/sources.list.d")
    files = [Path("/etc/apt/sources.list"), *sorted((*sources.glob("*.list"), *sources.glob("*.sources")))]
    lines = "\n".join(path.read_text() for path in files if path.is_file())
    found = re.search(r"^(?:deb (?:\[[^]]*\] )?|URIs: *)(https?://\S+)", lines, re.MULTILINE)
    return found and found[1]
