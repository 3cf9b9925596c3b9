"""Every text that bazar takes, from every channel, ends in an answer: done, or an error that names what is wrong.

Exit code 1 is a bug of bazar, whatever was typed. The commands run against both systems of their own, one after
another. Each run tries the same; BAZAR_TEST_HOSTILE=50 tries fifty times as much, and other values.
"""

from __future__ import annotations

import os
import shlex
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bazar_cli.adapters.config.profiles import Profiles
from bazar_cli.adapters.config.sessions import Sessions
from bazar_cli.adapters.supabase.auth_client import AuthClient
from bazar_cli.devstack.auth.keys import generate_keys
from bazar_cli.domain.entities import Role
from bazar_cli.domain.errors import ExitCode
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target, TargetKind, TargetSource
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.cli import Bazar
from tests.support.hostile_text import ARGUMENTS, CONTENT
from tests.support.people import OLD_PASSWORD, People
from tests.support.postgres import TEMPLATE, scratch_database
from tests.support.tree import ALL, COMMON_OPTIONS, VARIABLES, command, kind_of, verb

pytestmark = pytest.mark.xdist_group("hostile input")

EXCLUDED = {
    "local start": "it starts Postgres and an Auth service, and keeps them; its one text is a URL",
    "serve": "it serves until a signal; tests/cli/test_serve.py has its options",
}
ONLY_TRIED = {
    **dict.fromkeys(("db drop", "db migrate", "db redo", "db reset", "db rollback"), "it changes the tables of all"),
    **dict.fromkeys(("db merge", "db revision"), "it writes into this checkout"),
    "db locks": "it ends sessions of the server, other tests' among them",
    "db seed": "it makes demo users, which takes seconds",
}
"""Commands that always get --dry-run, and why."""
ENDS_SESSION = {"auth login", "auth logout", "auth password", "auth refresh"}
"""Commands that are run by somebody whom no other command needs."""
NEVER = {"--follow": "it does not end", "--everywhere": "it ends the sessions of all"}
"""Flags that no command gets, and why."""
FITTING = {
    **dict.fromkeys(("since", "until", "created_since", "if_unchanged_since"), "2026-01-02T03:04:05+02:00"),
    **dict.fromkeys(
        (
            "concurrency",
            "jobs",
            "limit",
            "lines",
            "lock_timeout",
            "lock_wait",
            "statement_timeout",
            "steps",
            "timeout",
            "users",
        ),
        "1",
    ),
    **dict.fromkeys(("confirm", "cursor", "terminate"), "0"),
    **dict.fromkeys(("to", "revision"), "0001"),
    "action": "users",
    "component": "auth",
    "email": "new@example.com",
    "env": "test",
    "expect": "0" * 64,
    "file": "-",
    "results": "results.jsonl",
    "run_id": "0193b3c4-0000-7000-8000-00000000000a",
    "max_delete": "10%",
    "message": "Add a column",
    "name": "Ada",
    "out": "plan.json",
    "plan": "plan.json",
    "reason": "why",
    "request": "x",
    "search": "a",
    "slug": "new-slug",
    "words": "users",
    "api_url": "https://bazar.example.com",
    "database_url": "postgresql://localhost/x",
}
"""A value that fits, by the name of a parameter; the others are those of `World`."""
COMMON = ("output", "fields", "profile", "env_file", "log_format", "log_file")
LIKELY = {
    "SUPABASE_URL": "http://127.0.0.1",
    "DATABASE_URL": "postgresql://127.0.0.1:1/",
    "SUPERUSER_EMAIL": "a@b",
    "BAZAR_API_URL": "http://127.0.0.1",
}
"""What a hostile value is put behind, by the name of a variable."""
READS = (("users", "list"), ("db", "status"), ("auth", "status"), ("config", "show"), ("db", "seed", "-n"))
READS_A_PIPE = (
    ("auth", "login", "--email", "x@example.com", "--password-stdin"),
    ("auth", "password", "--password-stdin"),
    ("users", "create", "x@example.com", "--password-stdin"),
    ("users", "create", "x@example.com", "--password-hash-stdin"),
    ("db", "seed", "-n", "--file", "-"),
    ("batch", "--keep-going", "-"),
    ("users", "import", "-n", "-"),
    ("users", "import", "-n", "--format", "csv", "-"),
    ("diff", "-f", "-"),
    ("apply", "-n", "-f", "-"),
)
ANSWERS = {int(code) for code in ExitCode} - {ExitCode.BUG}
MORE = int(os.environ.get("BAZAR_TEST_HOSTILE", "1"))
OTHERS = int.from_bytes(os.urandom(4), "big") if MORE > 1 else 0
SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.large_base_example)
QUICK = settings(deadline=None, database=None, phases=[Phase.generate], suppress_health_check=SLOW_IS_FINE)


def tries(key: str, times: int, *drawn: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a check that gets drawn values behind its own: so many times, others for each key."""

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        given_them = given(*drawn)(check)
        return seed(zlib.crc32(key.encode()) ^ OTHERS)(settings(QUICK, max_examples=times * MORE)(given_them))

    return decorate


@dataclass(frozen=True)
class World:
    """Both systems, an operator who may do everything, another one, and values that fit."""

    people: People
    admin: Bazar
    other: Bazar
    fitting: dict[str, str]

    def run(self, bazar: Bazar, *words: str, stdin: bytes = b"") -> None:
        """Run one command, which must end in an answer."""
        done = bazar(*words, stdin=stdin)
        told = f"bazar {shlex.join(words)[:2000]!r} <<< {stdin[:200]!r}\n{done.code}\n{done.err[:3000]}"
        assert done.code in ANSWERS, told
        assert "Traceback" not in done.err, told

    def value_for(self, parameter: Any) -> str:
        """A value that fits a parameter."""
        kind = kind_of(parameter)
        return str(next(iter(kind)).value) if issubclass(kind, Enum) else self.fitting[parameter.name]


@pytest.fixture(scope="module")
def world(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """Systems that no other test uses: hostile texts are stored there."""
    keys, source = generate_keys(), TargetSource(TargetKind.ENVIRONMENT, "environment")
    with (
        scratch_database(postgres_url, TEMPLATE) as database,
        running_auth_service(environment_of(keys, database)) as auth,
        People(Target(source, auth, Secret(keys.secret_key), Secret(database))) as people,
    ):
        org, ruler, second = people.org(), people.superuser(), people.superuser()
        user = people.user({org: Role.OWNER})
        for someone in (ruler, second, user):
            people.identity(someone)
        home = tmp_path_factory.mktemp("hostile")
        nobody = Bazar(home / "admin").on(people.target)
        other = replace(nobody, home=home / "other")
        values = {"SUPABASE_URL": auth, "SUPABASE_KEY": keys.secret_key, "DATABASE_URL": database}
        Profiles(other.environment()).save("x", values, activate=False)
        with AuthClient(people.target) as client:
            session = client.sign_in(second.email, Secret(OLD_PASSWORD))
        Sessions.of(people.target, other.environment()).save(session)
        other("users", "me").ok()
        yield World(
            people,
            nobody.having(BAZAR_TOKEN=people.access_token(ruler)),
            other.having(BAZAR_TOKEN=session.access_token.reveal()),
            {**FITTING, **dict.fromkeys(("user", "operator", "target", "owner"), user.email), "org": org.slug},
        )


@pytest.mark.parametrize("name", [name for name in ALL if name not in EXCLUDED])
def test_arguments(world: World, name: str) -> None:
    words, leaf = ALL[name]
    every = command(words, leaf).params
    parameters: list[Any] = [p for p in every if p.name not in (*COMMON_OPTIONS, "help") and kind_of(p) is not bool]
    flags = [p.opts[0] for p in every if p.name not in (*COMMON_OPTIONS, "help") and kind_of(p) is bool]
    if not parameters:
        return

    @tries(name, len(parameters) + 1, st.data())
    def check(data: st.DataObject) -> None:
        hostile = data.draw(st.sampled_from(parameters))
        options: list[str] = [flag for flag in flags if flag not in NEVER and not data.draw(st.integers(0, 3))]
        behind: list[str] = []
        for parameter in parameters:
            value = world.value_for(parameter)
            if parameter is hostile:
                value = data.draw(st.sampled_from(("", value))) + data.draw(ARGUMENTS)
            elif not parameter.required and data.draw(st.booleans()):
                continue
            if parameter.param_type_name == "argument":
                behind.append(value)
            else:
                options.append(f"{parameter.opts[0]}={value}")
        if name in ONLY_TRIED or (verb(leaf).spec.writes and data.draw(st.booleans())):
            options.append("-n")
        if data.draw(st.booleans()):
            options.append("-y")
        bazar = world.other if name in ENDS_SESSION else world.admin
        world.run(bazar, *words, *options, "--", *behind, stdin=data.draw(CONTENT))

    check()


@pytest.mark.parametrize("name", COMMON)
def test_common_options(world: World, name: str) -> None:
    @tries(name, 4, st.sampled_from(READS), ARGUMENTS)
    def check(words: tuple[str, ...], value: str) -> None:
        world.run(world.admin, *words, f"--{name.replace('_', '-')}={value}")

    check()


@tries(
    "words", 25, st.lists(ARGUMENTS | st.sampled_from(["users", "list", "help", "__complete", "-o", "--"]), max_size=4)
)
def test_words(world: World, words: list[str]) -> None:
    world.run(world.admin, *words)


@pytest.mark.parametrize("words", READS_A_PIPE, ids=" ".join)
def test_standard_input(world: World, words: tuple[str, ...]) -> None:
    @tries(" ".join(words), 5, CONTENT)
    def check(content: bytes) -> None:
        world.run(world.other, *words, stdin=content)

    check()


@pytest.mark.parametrize("variable", VARIABLES)
def test_environment(world: World, variable: str) -> None:
    bazar = world.admin.lacking("BAZAR_TOKEN") if variable.startswith("SUPERUSER") else world.admin

    @tries(variable, 3, st.sampled_from(READS), st.sampled_from(("", LIKELY.get(variable, ""))), ARGUMENTS)
    def check(words: tuple[str, ...], before: str, value: str) -> None:
        world.run(bazar.having(**{variable: f"{before}{value}"}), *words)

    check()


@tries("env file", 15, st.sampled_from(["", "SUPABASE_URL=", "DATABASE_URL='", "SUPABASE_KEY=a\nX="]), CONTENT)
def test_env_file(world: World, before: str, content: bytes) -> None:
    (world.admin.folder("work") / "hostile.env").write_bytes(before.encode() + content)
    world.run(world.admin, "users", "list", "--env-file", "hostile.env")


@tries(
    "profiles",
    15,
    st.sampled_from(["", "active = ", "[profiles.x]\nsupabase_url = ", "profiles = ", "x = " + "[" * 100_000]),
    CONTENT,
)
def test_file_of_profiles(world: World, before: str, content: bytes) -> None:
    path = world.other.home / "config" / "profiles.toml"
    kept = path.read_bytes()
    path.write_bytes(before.encode() + content)
    try:
        world.run(world.other, "config", "profiles", "list")
        world.run(world.other, "config", "show", "--profile", "x")
    finally:
        path.write_bytes(kept)


@tries("kept files", 10, st.sampled_from(["", "{", '{"auth": ', '[1, "', "[" * 100_000]), CONTENT)
def test_files_that_bazar_keeps(world: World, before: str, content: bytes) -> None:
    kept = {path: path.read_bytes() for path in world.other.home.rglob("*.json")}
    assert {path.parent.name for path in kept} == {"secrets", "cache"}
    for path in kept:
        path.write_bytes(before.encode() + content)
    try:
        world.run(world.other.lacking("BAZAR_TOKEN"), "auth", "status")
        world.run(world.other, "users", "me", "--profile", "x")
    finally:
        for path, whole in kept.items():
            path.write_bytes(whole)
