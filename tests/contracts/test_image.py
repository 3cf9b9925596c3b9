"""docker/Dockerfile: its own steps in a clean Debian, and the program of the result as its user on read-only files."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import struct
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bazar_cli import __version__
from tests.support.checkout import ROOT
from tests.support.cli import Done
from tests.support.compose import MAKE_ENV, compose, values
from tests.support.debian_root import Inside, debian_root, wheelhouse
from tests.support.dockerfile import Image, build, copy_context, ignored
from tests.support.other_target import another_postgres, composed_database, served

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_DOCKERFILE = ROOT / "docker/Dockerfile"
_MEGABYTES = 150
_UNCHECKED = 1
"""The flags of bytecode whose source is never compared (PEP 552)."""


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert hadolint is not None
    done = subprocess.run([hadolint, _DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_build_context_has_the_code_and_no_secret() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    needed = (
        "bazar_cli/main.py",
        "migrations/env.py",
        "pyproject.toml",
        "constraints.txt",
        "README.md",
        "LICENSE",
        "hatch_build.py",
    )
    assert [path for path in needed if ignored(patterns, path)] == []
    unwanted = (
        ".env",
        "docker/server/.env",
        "bazar.dump",
        "docker/server/secrets/bazar.env",
        "tests/conftest.py",
        ".git/config",
        ".venv/bin/python",
        "bazar_cli/.env",
        "bazar_cli/.env.bak",
        "bazar_cli/bazar.dump",
    )
    assert [path for path in unwanted if not ignored(patterns, path)] == []


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, Image]]:
    context = tmp_path_factory.mktemp("context")
    copy_context(ROOT, context)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    with ExitStack() as stack:
        version = stack.enter_context(debian_root()).python_version
        wheels = wheelhouse(
            version,
            "pip",
            *project["build-system"]["requires"],
            *project["project"]["dependencies"],
            *project["project"]["optional-dependencies"]["server"],
        )
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
        yield build(_DOCKERFILE, context, stack, binds={wheels: "/wheels"}, environ=offline)


@pytest.fixture(scope="module")
def image(images: dict[str, Image]) -> Image:
    """The image of the command line."""
    return images["cli"]


@pytest.fixture(scope="module")
def inside(image: Image) -> Generator[Inside]:
    with image.root.entered(read_only=True) as entered:
        yield entered


def bazar(image: Image, inside: Inside, *words: str, **environ: str) -> Done:
    return image.run(inside, *image.entrypoint, *words, environ=environ)


@pytest.mark.debian
@pytest.mark.xdist_group("debian")
class TestImage:
    def test_program_starts_as_its_user_and_is_healthy(self, image: Image, inside: Inside) -> None:
        assert bazar(image, inside, "--version").ok().out == f"bazar {__version__}\n"
        assert image.run(inside, "id", "-u").ok().out == "10001\n"
        assert image.run(inside, *image.health).ok().out == f"bazar {__version__}\n"

    def test_labels_name_the_version(self, image: Image) -> None:
        assert image.labels["org.opencontainers.image.version"] == __version__

    def test_both_stages_have_the_same_interpreter(self, image: Image, inside: Inside) -> None:
        where = "import os, sys; print(os.path.realpath(sys.executable), sys.prefix)"
        python, prefix = image.run(inside, "python3", "-c", where).ok().out.split()
        assert prefix == "/usr/local/lib/bazar"
        assert (image.root.folder / python.lstrip("/")).is_file()
        home = (image.root.folder / prefix.lstrip("/") / "pyvenv.cfg").read_text()
        assert f"home = {Path(python).parent}" in home

    def test_virtual_environment_is_small(self, image: Image) -> None:
        venv = image.root.folder / "usr/local/lib/bazar"
        size = sum(path.lstat().st_size for path in venv.rglob("*") if not path.is_dir())
        assert size <= _MEGABYTES * 1_000_000, f"{size / 1e6:.1f} MB"

    def test_no_installer_cache_tests_or_secrets_are_left(self, image: Image, inside: Inside) -> None:
        for module in ("pip", "ensurepip", "setuptools", "pytest"):
            assert image.run(inside, "/usr/bin/python3", "-c", f"import {module}").code == 1
            assert image.run(inside, "python3", "-c", f"import {module}").code == 1
        root = image.root.folder
        venv = root / "usr/local/lib/bazar"
        assert [path for path in venv.rglob("tests") if path.is_dir()] == []
        unwanted = (
            "**/.env*",
            "**/*.dump",
            "**/*.whl",
            "root/.cache",
            "src",
            "wheels",
            "var/lib/apt/lists/*_*",
            "var/cache/apt/*.deb",
        )
        assert [path for pattern in unwanted for path in root.glob(pattern)] == []

    def test_bytecode_is_complete_and_never_compared_with_its_source(self, image: Image) -> None:
        for path in (image.root.folder / "usr/local/lib/bazar").rglob("*.py"):
            compiled = Path(importlib.util.cache_from_source(str(path)))
            tag = next(path.parent.glob(f"__pycache__/{path.stem}.cpython-*.pyc"), compiled)
            assert struct.unpack("<I", tag.read_bytes()[4:8]) == (_UNCHECKED,), path

    def test_compose_service_works_where_nothing_can_be_written(self, image: Image, tmp_path: Path) -> None:
        """As `docker compose run`, with the files that make_env.py made in the image, and without a volume."""
        service = compose()["x-bazar"]
        mounted, made = tmp_path / "mounted", image.root.folder / "srv"
        mounted.mkdir()
        shutil.copy(MAKE_ENV, made)
        with image.root.entered() as inside:
            inside.run("python3", f"/srv/{MAKE_ENV.name}", "ada@example.com").ok()
        secrets = Path(shutil.move(made / "secrets", tmp_path))
        for path in made.iterdir():
            path.unlink()
        with (
            another_postgres() as url,
            composed_auth(url, secrets) as (supabase_url, database_url),
            image.root.entered(read_only=True, binds={mounted: "/run/secrets"}) as inside,
        ):
            given = values(secrets / "bazar.env") | {"DATABASE_URL": database_url}
            (mounted / "bazar.env").write_text("".join(f"{name}={text}\n" for name, text in given.items()))
            os.chown(mounted / "bazar.env", 1000, 1000)
            environ = {name: text for name, text in service["environment"].items() if "$" not in text} | {
                "SUPABASE_URL": supabase_url
            }

            def composed(*words: str) -> Done:
                return image.run(inside, *service["entrypoint"], *words, environ=environ)

            assert image.run(inside, "touch", "/var/lib/bazar/file").code == 1
            migrate = (*compose()["services"]["migrate"]["command"],)
            composed(*migrate).ok()
            composed("users", "create", "bob@example.com", "--generate-password").ok()
            users = composed("users", "list", "-o", "json").ok().json["items"]
            assert {user["email"] for user in users} == {"ada@example.com", "bob@example.com"}
            for name, words in commands_of_the_page():
                composed(*(migrate if name == "migrate" else (*words, "--yes"))).ok()
            users = composed("users", "list", "-o", "json").ok().json["items"]
        assert [user["email"] for user in users] == ["ada@example.com"], "the page ends with a reset"

    def test_server_has_what_it_needs_and_the_command_line_does_not(self, images: dict[str, Image]) -> None:
        served = images["server"]
        with served.root.entered(read_only=True) as inside:
            # Without a target it ends before it listens, with the extra in place.
            done = served.run(inside, *served.entrypoint, *served.command, "-o", "json")
            assert (done.code, '"target.' in done.err) == (2, True), done.err
            assert served.run(inside, *served.health).code == 1
            assert served.run(inside, "id", "-u").ok().out == "10001\n"
        with images["cli"].root.entered(read_only=True) as inside:
            done = bazar(images["cli"], inside, "serve")
            assert (done.code, "serve.extra_missing" in done.err) == (2, True), done.err


@contextmanager
def composed_auth(url: str, secrets: Path) -> Generator[tuple[str, str]]:
    """Run the Auth service with the files of compose.yml; yield its URL, and the URL of bazar's database."""
    database_url, auth_database_url = composed_database(url, "bazar", secrets)
    settings = values(secrets / "auth.env") | {"GOTRUE_DB_DATABASE_URL": auth_database_url}
    with served(settings) as supabase_url:
        yield supabase_url, database_url


def commands_of_the_page() -> list[tuple[str, list[str]]]:
    """The commands that docs/docker.md runs in a service, except the one that asks for a password."""
    lines = (ROOT / "docs/docker.md").read_text().splitlines()
    prefix = "docker compose run --rm "
    written = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
    found = [shlex.split(line.removeprefix("--build ")) for line in written]
    assert found
    return [(service, words) for service, *words in found if words[:2] != ["auth", "login"]]
