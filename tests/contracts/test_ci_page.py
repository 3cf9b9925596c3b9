"""docs/ci.md: every line of its workflow and of its scripts runs, in order, as in a pipeline.

A step of the workflow is run as GitHub runs it, by `bash -e`, a script by `sh`; both in a home that is empty, with
nothing in the environment but what the page says, standard input closed. Nothing of a line is replaced: `pip` is a
program of the test's own, which installs nothing and holds the page to names that can be installed, and the container's
Postgres is a database of the same name on the server of the run.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from bazar_cli.adapters.migrations.revision_files import revisions, script_location
from bazar_cli.domain.target import Target
from tests.cli.db.conftest import marker_of
from tests.support.cli import program
from tests.support.people import an_address
from tests.support.postgres import create_database, drop_database

PAGE = Path(__file__).parents[2] / "docs" / "ci.md"
NAME = "bazar_test"
"""The test database of the page."""
CONTAINER = f"postgresql://postgres:postgres@127.0.0.1:5432/{NAME}"
HEAD = revisions(script_location())[-1].id
PASSWORD = "a-secret-of-the-pipeline"
_ACTIONS = {"actions/setup-python@5fda3b95a4ea91299a34e894583c3862153e4b97"}
_FRAME = re.compile(r"case .* in|esac|else|fi|for .*; do|done")
"""What the shell's trace does not show."""
_PIP = r"""#!/bin/sh
for word; do last=$word; done
case "$1 $last" in
"install bazar-cli @ git+https://HOST/OWNER/REPOSITORY@COMMIT" | \
"install bazar-cli[local] @ git+https://HOST/OWNER/REPOSITORY@COMMIT") exit 0 ;;
esac
echo "this page installs something else: $*" >&2
exit 1
"""


@dataclass(frozen=True)
class Script:
    """Lines that one shell runs."""

    shell: str
    text: str
    environ: Mapping[str, str] = field(default_factory=dict[str, str])

    def lines(self) -> Iterator[str]:
        """Each command; comments and the frame of a branch are none."""
        for line in self.text.replace("\\\n", " ").splitlines():
            whole = line.strip()
            if whole and not whole.startswith("#") and not _FRAME.fullmatch(whole):
                yield whole

    def seen_in(self, trace: str) -> set[str]:
        """The lines whose first command the shell's trace has, which shows values in place of their names."""
        ran = [line.lstrip("@ ").replace("'", "") for line in trace.splitlines() if line.startswith("@")]
        return {line for line in self.lines() if any(map(_first(line).fullmatch, ran))}


def _first(line: str) -> re.Pattern[str]:
    bare = re.sub(r"^(if|elif|while|until) (! )?|^\S+\) | ;;$|; (then|do)$", "", line)
    alone = re.sub(r" *>+ *\S+$", "", re.split(r" (?:\|\|?|&&) ", bare)[0])
    words = shlex.split(alone)
    return re.compile(" ".join(".*" if "$" in word else re.escape(word) for word in words))


@dataclass(frozen=True)
class Job:
    """A job of the workflow, or a script, and what it finds in its environment."""

    name: str
    scripts: Sequence[Script]
    in_actions: bool
    starts_auth: bool
    """Its own service, beside a test database; else it has a hosted project."""


def jobs_of(page: str) -> Iterator[Job]:
    """All jobs and scripts of the page."""
    for number, (kind, text) in enumerate(re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", page), 1):
        assert kind in {"yaml", "sh"}, f"nothing here runs a block of {kind or 'no language'}"
        if kind == "sh":
            yield Job(f"script {number}", [Script("sh", text)], in_actions=False, starts_auth="local start" in text)
            continue
        for name, job in yaml.safe_load(text)["jobs"].items():
            yield Job(name, list(steps_of(job)), in_actions=True, starts_auth="services" in job)


def steps_of(job: Mapping[str, Any]) -> Iterator[Script]:
    """The steps of a job that run something, each with the environment that the page gives it."""
    if "services" in job:
        container = job["services"]["postgres"]
        assert container["env"] == {"POSTGRES_DB": NAME, "POSTGRES_PASSWORD": "postgres"}
        assert container["ports"] == ["5432:5432"]
    for step in job["steps"]:
        if "run" not in step:
            assert step["uses"] in _ACTIONS, step
            continue
        assert step.keys() <= {"name", "run", "env"}, "nothing here knows the others"
        yield Script("bash -e", step["run"], {**job.get("env", {}), **step.get("env", {})})


JOBS = {job.name: job for job in jobs_of(PAGE.read_text())}


@dataclass(frozen=True)
class Machine:
    """What a job runs on: programs, an empty home, the secrets of the pipeline and the files of GitHub Actions."""

    folder: Path
    database: str
    """In place of the container's."""
    secrets: Mapping[str, str]

    @classmethod
    def made_in(cls, folder: Path, database: str, secrets: Mapping[str, str]) -> Machine:
        """A new one."""
        for name in ("bin", "home", "work"):
            (folder / name).mkdir()
        program(folder / "bin" / "bazar")
        pip = folder / "bin" / "pip"
        pip.write_text(_PIP)
        pip.chmod(0o755)
        for name in ("env", "summary", "log"):
            (folder / name).touch()
        return cls(folder, database, secrets)

    def run(self, job: Job) -> tuple[int, set[str]]:
        """Run a job until a step of it fails; return its exit code and which lines ran."""
        ran: set[str] = set()
        for script in job.scripts:
            code, found = self._run(script, {**self._given(job), **self._handed_on()})
            ran |= found
            if code:
                return code, ran
        return 0, ran

    def end(self) -> None:
        """Stop what a pipeline's machine takes along with it."""
        command = [self.folder / "bin" / "bazar", "local", "reset", "--confirm", "local"]
        subprocess.run(command, env=self._always(), check=True, capture_output=True)

    def said(self) -> str:
        """All that the jobs said."""
        return (self.folder / "log").read_text()

    def _always(self) -> dict[str, str]:
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.folder / "home"), "CI": "true"}

    def _given(self, job: Job) -> dict[str, str]:
        if job.in_actions:
            files = {"GITHUB_ENV": "env", "GITHUB_STEP_SUMMARY": "summary"}
            return {"GITHUB_ACTIONS": "true", **{name: str(self.folder / file) for name, file in files.items()}}
        return {"DATABASE_URL": self.database} if job.starts_auth else dict(self.secrets)

    def _handed_on(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in (self.folder / "env").read_text().splitlines())

    def _filled(self, value: str) -> str:
        if value == CONTAINER:
            return self.database
        return re.sub(r"\$\{\{ secrets\.(\w+) \}\}", lambda found: self.secrets[found[1]], value)

    def _run(self, script: Script, environ: Mapping[str, str]) -> tuple[int, set[str]]:
        path = self.folder / "script"
        path.write_text(script.text)
        trace = f"PS4='@ '; set -x; . {shlex.quote(str(path))}"
        done = subprocess.run(
            [*shlex.split(script.shell), "-c", trace],
            env={**self._always(), **environ, **{k: self._filled(v) for k, v in script.environ.items()}},
            cwd=self.folder / "work",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        with (self.folder / "log").open("a") as log:
            log.write(done.stdout + done.stderr)
        return done.returncode, script.seen_in(done.stderr)


@contextmanager
def a_machine(folder: Path, postgres_url: str, target: Target) -> Generator[Machine]:
    """Lend a machine with an empty test database, and the secrets of a hosted project with the same one."""
    folder.mkdir()
    database = create_database(postgres_url, NAME)
    secrets = {
        "SUPABASE_URL": target.supabase_url,
        "SUPABASE_KEY": target.supabase_key.reveal(),
        "DATABASE_URL": database,
        "DATABASE_MIGRATION_URL": "",
        "SUPERUSER_EMAIL": an_address("pipeline"),
        "SUPERUSER_PASSWORD": PASSWORD,
    }
    made = Machine.made_in(folder, database, secrets)
    try:
        yield made
    finally:
        made.end()
        drop_database(postgres_url, NAME)


@pytest.mark.packages
def test_every_line_runs(tmp_path: Path, postgres_url: str, target: Target) -> None:
    # One after the other: the server has one database of this name.
    for job in JOBS.values():
        with a_machine(tmp_path / job.name, postgres_url, target) as machine:
            check(job, machine)


def check(job: Job, machine: Machine) -> None:
    lines = [line for script in job.scripts for line in script.lines()]
    assert len(set(lines)) == len(lines), f"{job.name} has a line twice: whether both run is not seen"
    code, ran = machine.run(job)
    assert code == 0, f"{job.name}\n{machine.said()}"
    with psycopg.connect(machine.database) as connection:
        assert connection.execute("SELECT version_num FROM bazar.alembic_version").fetchall() == [(HEAD,)]
        superusers = connection.execute("SELECT count(*) FROM bazar.users WHERE is_superuser").fetchall()
    assert superusers != [(0,)], job.name
    marked = any("--env test --unprotected" in line for line in lines)
    assert marker_of(machine.database) == (("test", False) if marked else ("production", True)), job.name
    assert marked or not job.starts_auth, job.name
    assert ("### bazar db migrate" in (machine.folder / "summary").read_text()) == job.in_actions, job.name
    # No session, no profile, and nothing that a pipeline's log should not have.
    kept = {path.name for folder in ("home", "work") for path in (machine.folder / folder).rglob("*")}
    assert not [name for name in kept if re.search("config|session|secret|profile", name)], job.name
    assert not [name for name in ("SUPABASE_KEY", "SUPERUSER_PASSWORD") if machine.secrets[name] in machine.said()]
    if ran != set(lines) and "case $code in" in job.scripts[0].text:
        # Lines of another branch: on the migrated database, and where no database answers.
        code, found = machine.run(job)
        assert code == 0, machine.said()
        gone = {**machine.secrets, "DATABASE_URL": f"postgresql://u@127.0.0.1:1/{NAME}"}
        code, more = replace(machine, secrets=gone).run(job)
        assert code == 7, machine.said()
        ran |= found | more
    assert ran == set(lines), f"{job.name}\n{machine.said()}"


def test_page_has_both_kinds_of_database_in_both_kinds_of_pipeline() -> None:
    assert {(job.in_actions, job.starts_auth) for job in JOBS.values()} == {(a, b) for a in (0, 1) for b in (0, 1)}
