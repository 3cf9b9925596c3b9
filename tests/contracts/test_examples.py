"""Every example of every help runs, with data that fit it, and ends with the expected exit code."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bazar_cli.adapters.config.profiles import Profiles
from bazar_cli.adapters.config.sessions import Sessions
from bazar_cli.adapters.supabase.auth_client import AuthClient
from bazar_cli.devstack.auth.keys import generate_keys
from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.errors import ExitCode
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.cli import Bazar, program
from tests.support.people import OLD_HASH, OLD_PASSWORD, Org, People, Someone
from tests.support.postgres import TEMPLATE, scratch_database
from tests.support.tree import ALL, verb

EXAMPLES = {example: name for name, (_, leaf) in ALL.items() for example in verb(leaf).examples}
ELSEWHERE = {
    "bazar local logs auth --lines 20 --follow": "runs until it is interrupted: tests/cli/local",
    "bazar local start": "starts a stack: tests/cli/local",
    "bazar local start --database-url postgresql://postgres@localhost:5432/postgres": "the same",
    **dict.fromkeys(
        ("bazar serve", "bazar serve --host 0.0.0.0 --workers 4 --proxy-headers --metrics-port 9100"),
        "runs until it is interrupted: tests/cli/test_serve.py",
    ),
    'eval "$(bazar local env)"': "needs a stack that runs: tests/cli/local",
    'bazar db revision -m "add invoices"': "writes into the checkout: tests/cli/db",
    'bazar db revision -m "add invoices" --autogenerate': "the same",
    "bazar db merge": "needs two heads: tests/cli/db",
    'bazar db merge -m "join invoices and refunds"': "the same",
    'eval "$(bazar completion zsh)"': "needs that shell: tests/cli/test_completion_shells.py",
}
ENDS = {
    # No prompt is possible, and consent is missing.
    "bazar auth login": 2,
    "bazar auth password": 2,
    "bazar local reset": 10,
    "bazar plans revoke plus files:execute": 10,
    'bazar users suspend ada@example.com --reason "left the company"': 10,
    # The database has another name here, and has connected sessions.
    "bazar db drop --confirm bazar_test": 10,
    "bazar db drop --dry-run": 6,
    "bazar db env set staging --unprotected --confirm bazar_staging": 10,
    "bazar db env set production --protected --confirm bazar": 10,
    "bazar db locks --terminate 4711 --yes": 3,
    "bazar db redo": 10,
    "bazar db reset --identities --seed --confirm bazar_test -o json": 10,
    # There are changes.
    "bazar diff -f state.yaml": 9,
    "bazar diff -f state.yaml --out plan.json --overwrite": 9,
    # Ada is on Free.
    "bazar plans check files:execute --user ada@example.com": 9,
    # No stack runs.
    "bazar local env -o json": 7,
    "bazar local mail": 7,
    "bazar local mail -o json --fields recipient,link": 7,
}
"""Exit codes of examples that do not end with 0 without a terminal."""
_SHELL = re.compile(r"[|<>&]|\$\(|^eval |^export ")


@dataclass
class World:
    """Both systems, an operator, and the users and organizations of the examples."""

    people: People
    bazar: Bazar
    root: Someone

    def make_for(self, example: str) -> None:
        """Create the data that this example needs."""
        people = self.people
        others = people.sql("DELETE FROM bazar.users WHERE id <> %s RETURNING id", self.root.id)
        people.sql("DELETE FROM bazar.organizations")
        people.sql("DELETE FROM auth.users WHERE id <> %s", self.root.id)
        assert len(others) < 20, "this database has only rows of these tests"
        people.seed_plans()
        creates_org = "--slug acme --owner" in example
        acme = people.org(slug="acme") if not creates_org else None
        self._user("carol", acme, Role.OWNER)
        self._user("bob", None if example.startswith("bazar users create bob") else acme, Role.MEMBER)
        if example.startswith("bazar users create bob"):
            people.sql("DELETE FROM bazar.users WHERE email = 'bob@example.com'")
            people.sql("DELETE FROM auth.users WHERE email = 'bob@example.com'")
        ada = self._user("ada", None if "members add" in example else acme, Role.MEMBER)
        if example.startswith(("bazar users adopt", "bazar users create ada")):
            people.sql("DELETE FROM bazar.users WHERE id = %s", ada.id)
        if example.startswith("bazar users create ada"):
            people.sql("DELETE FROM auth.users WHERE id = %s", ada.id)
        if example.startswith("bazar users import"):
            self._import()
        self._sign_in()
        self._files(example)
        if example.startswith("bazar apply plan.json"):
            assert self.bazar("diff", "-f", "state.yaml", "--out", "plan.json", "--overwrite").code == ExitCode.FINDING

    def _user(self, name: str, org: Org | None, role: Role) -> Someone:
        made = self.people.user({org: role} if org else {}, email=f"{name}@example.com")
        self.people.identity(made)
        return made

    def _import(self) -> None:
        """Insert the run of the examples, which is finished."""
        self.people.sql("DELETE FROM bazar.import_runs")
        self.people.sql(
            "INSERT INTO bazar.import_runs (id, content_hash, columns, via, on_conflict, operator_id, operator_email,"
            " request_id, rows, staged_at, finished_at)"
            " VALUES (%s, sha256('x'), '{email}', 'api', 'fail', %s, %s, 'r', 1, now(), now())",
            "0193b3c4-0000-7000-8000-00000000000a",
            self.root.id,
            self.root.email,
        )

    def _sign_in(self) -> None:
        environ = self.bazar.environment()
        self.people.sql("UPDATE auth.users SET encrypted_password = %s WHERE id = %s", OLD_HASH, self.root.id)
        with AuthClient(self.people.target) as client:
            session = client.sign_in(self.root.email, Secret(OLD_PASSWORD))
        Sessions.of(self.people.target, environ).save(session)

    def _files(self, example: str) -> None:
        target = self.people.target
        values = {
            "SUPABASE_URL": target.supabase_url,
            "SUPABASE_KEY": target.supabase_key.reveal(),
            "DATABASE_URL": target.database_url.reveal(),
        }
        for profile in ("local", "staging"):
            Profiles(self.bazar.environment()).save(profile, values, activate=False)
        folder = self.folder
        demo = {"organizations": [{"slug": "acme", "name": "Acme"}], "users": [{"email": "dora@example.com"}]}
        (folder / "demo.json").write_text(json.dumps(demo))
        (folder / "commands.txt").write_text("users get ada@example.com  # who\norgs get acme\n")
        (folder / "state.yaml").write_text("organizations: [{slug: acme, name: Acme Inc}]\n")
        for name in ("events.jsonl", "organizations.jsonl", "results.csv", "users.csv.gz", "users.jsonl"):
            (folder / name).unlink(missing_ok=True)
        (folder / "users.csv").write_text("email,name\nada@example.com,Ada\nnew@example.com,New\n")
        if example.startswith("bazar users import"):
            (folder / "users.jsonl").write_text('{"email": "ada@example.com", "name": "Ada"}\n')
        (folder / "staging.env").write_text("".join(f"{k}={v}\n" for k, v in values.items()))
        (folder / "password.txt").write_text(f"{OLD_PASSWORD}\n")
        (folder / "new-password.txt").write_text(f"{OLD_PASSWORD}-new\n")
        heads = self.people.sql("SELECT encode(hash, 'hex') AS head FROM bazar.audit_seals ORDER BY position")
        (folder / "heads.txt").write_text("".join(f"{row['head']}\n" for row in heads))
        (folder / ".config" / "fish" / "completions").mkdir(parents=True, exist_ok=True)

    @property
    def folder(self) -> Path:
        """The operator's current folder and home."""
        return self.bazar.folder("work")

    def run(self, example: str) -> tuple[int, str]:
        """Run the example in a shell if it needs one; return the exit code and the output."""
        if not _SHELL.search(example):
            done = self.bazar(*shlex.split(example)[1:])
            return done.code, done.out + done.err
        path = f"{self.bazar.folder('bin')}{os.pathsep}{os.environ['PATH']}"
        environ = {**self.bazar.environment(), "PATH": path, "HOME": str(self.folder)}
        finished = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", example],
            env=environ,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return finished.returncode, finished.stdout + finished.stderr


@pytest.fixture(scope="module")
def world(postgres_url: str, target: Target, tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """Separate systems: the names of the examples must be free."""
    keys = generate_keys()
    with (
        scratch_database(postgres_url, TEMPLATE) as database,
        running_auth_service(environment_of(keys, database)) as auth,
        People(
            replace(target, supabase_url=auth, supabase_key=Secret(keys.secret_key), database_url=Secret(database))
        ) as people,
    ):
        root = people.user(email="root@example.com", plan=Plan.PREMIUM, superuser=True)
        people.identity(root)
        made = World(people, Bazar(tmp_path_factory.mktemp("home")).on(people.target), root)
        program(made.bazar.folder("bin") / "bazar")
        made.make_for("")
        made.bazar("users", "update", root.email, "--name", "Root").ok()
        made.bazar("audit", "verify").ok()
        yield made


@pytest.mark.parametrize("example", [example for example in EXAMPLES if example not in ELSEWHERE])
def test_example_runs(world: World, example: str) -> None:
    world.make_for(example)
    code, said = world.run(example)
    if "db rollback" in example:
        world.bazar("db", "migrate").ok()
    if example.startswith("bazar doctor"):
        # Earlier examples may have left findings.
        assert code in {0, 9}, said
    else:
        assert code == ENDS.get(example, 0), said


def test_exceptions_name_existing_examples() -> None:
    assert ELSEWHERE.keys() | ENDS.keys() <= EXAMPLES.keys()
