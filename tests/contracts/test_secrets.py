"""No command shows a secret: every command of the tree runs with marked ones, and all that it leaves is searched.

Searched are standard output, standard error, the log, the trace, and the files that bazar keeps. The secrets are looked
for as they are, and as a URL, JSON and Python write them. Each run also leaves exactly one root span.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from bazar_cli.adapters.config.profiles import Profiles
from bazar_cli.adapters.config.sessions import Sessions
from bazar_cli.adapters.supabase.auth_client import AuthClient
from bazar_cli.devstack.auth.keys import generate_keys
from bazar_cli.domain.entities import Role
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Session, Target, TargetKind, TargetSource
from tests.contracts.test_hostile_input import ENDS_SESSION, EXCLUDED, FITTING, ONLY_TRIED, READS_A_PIPE
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.cli import Bazar
from tests.support.collector import PATIENT, Collector, running_collector
from tests.support.people import OLD_PASSWORD, People
from tests.support.postgres import TEMPLATE, scratch_database
from tests.support.raw_server import RawServer, raw_server
from tests.support.tree import ALL, command, kind_of, verb

pytestmark = pytest.mark.xdist_group("marked secrets")

PRINTS = {"auth token": {"access token", "signature"}}
"""Commands that are meant to print secrets, and which."""
KEEPS = ("config/secrets/*.json",)
"""Files that are meant to hold secrets, below the home of a user."""


def word() -> str:
    """Return a password that is a word of 12 letters, as people choose them."""
    return "Mark" + "".join(secrets.choice("abcdefghijklmnop") for _ in range(8))


def marked(name: str) -> str:
    """Return a password with characters that URLs, JSON and Python write in another form."""
    return f'Mark-{name} "\u00e9\\/@%{secrets.token_hex(6)}1a'


@dataclass(frozen=True)
class World:
    """Both systems, two operators, a collector, and the marked secrets by their names."""

    admin: Bazar
    other: Bazar
    collector: Collector
    target: Target
    session: Session
    secrets: dict[str, str]
    fitting: dict[str, str]

    def lines(self) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
        """Yield name, words and arguments of every command, and of those that read a secret from a pipe."""
        for name, (words, leaf) in ALL.items():
            if name in EXCLUDED:
                continue
            arguments = [self._value(p) for p in command(words, leaf).params if p.required]
            given = [p for p in command(words, leaf).params if p.name in {"confirm", "timeout"}]
            options = [f"{p.opts[0]}={self._value(p)}" for p in given]
            tried = ["-n"] if name in ONLY_TRIED else []
            yield name, words, (*options, *tried, *(["-y"] if verb(leaf).spec.writes else []), "--", *arguments)
        for words in READS_A_PIPE:
            size = next(n for n in range(len(words), 0, -1) if " ".join(words[:n]) in ALL)
            yield " ".join(words[:size]), words[:size], words[size:]

    def _value(self, parameter: Any) -> str:
        kind = kind_of(parameter)
        return str(next(iter(kind)).value) if issubclass(kind, Enum) else self.fitting[parameter.name]

    def shown(self, text: str) -> set[str]:
        """Return the names of the secrets that a text shows, in any form."""
        return {name for name, secret in self.secrets.items() if any(form in text for form in forms(secret))}


def forms(secret: str) -> set[str]:
    """Return a secret as it is, and as URLs, JSON and Python write it."""
    in_json = {json.dumps(secret, ensure_ascii=only)[1:-1] for only in (True, False)}
    return {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1], *in_json}


@pytest.fixture(scope="module")
def world(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    """Systems of their own, whose target, session, profile and collector have marked secrets."""
    keys, source = generate_keys(), TargetSource(TargetKind.ENVIRONMENT, "environment")
    passwords = {name: marked(name) for name in ("superuser", "seed", "database", "stdin", "header")}
    passwords |= {"word of the superuser": word(), "word on stdin": word()}
    with (
        scratch_database(postgres_url, TEMPLATE) as database,
        running_auth_service(environment_of(keys, database)) as auth,
        People(Target(source, auth, Secret(keys.secret_key), Secret(database))) as people,
        running_collector() as collector,
    ):
        org, ruler, second = people.org(), people.superuser(), people.superuser()
        user = people.user({org: Role.OWNER})
        for someone in (ruler, second, user):
            people.identity(someone)
        with AuthClient(people.target) as client:
            session = client.sign_in(second.email, Secret(OLD_PASSWORD))
        home = tmp_path_factory.mktemp("secrets")
        admin = (
            Bazar(home / "admin", constants=PATIENT)
            .on(people.target)
            .having(
                DATABASE_URL=with_password(database, passwords["database"]),
                SUPABASE_ANON_KEY=keys.publishable_key,
                SUPERUSER_EMAIL=ruler.email,
                SUPERUSER_PASSWORD=passwords["superuser"],
                BAZAR_SEED_PASSWORD=passwords["seed"],
                OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
                OTEL_EXPORTER_OTLP_HEADERS=f"x-key={quote(passwords['header'].encode())}",
            )
        )
        other = replace(admin, home=home / "other")
        values = {name: admin.environ[name] for name in ("SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL")}
        Profiles(other.environment()).save("x", values, activate=False)
        Sessions.of(people.target, other.environment()).save(session)
        token = people.access_token(ruler)
        known = {
            **passwords,
            "service key": keys.secret_key,
            "anon key": keys.publishable_key,
            "access token": token,
            "signature": token.rpartition(".")[2],
            "stored access token": session.access_token.reveal(),
            "stored refresh token": session.refresh_token.reveal(),
        }
        fitting = {**FITTING, **dict.fromkeys(("user", "operator", "target", "owner"), user.email), "org": org.slug}
        yield World(admin.having(BAZAR_TOKEN=token), other, collector, people.target, session, known, fitting)


def with_password(url: str, password: str) -> str:
    """Return a URL with a password, which the server of the tests does not ask for."""
    scheme, _, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    user = account.partition(":")[0] if at else "postgres"
    return f"{scheme}://{user}:{quote(password, safe='')}@{place}"


def check(world: World, name: str, bazar: Bazar, words: tuple[str, ...], log: Path, *, stdin: str = "stdin") -> int:
    """Run one command, search all that it leaves, and return its exit code. Parameters: `stdin` names its input."""
    log.unlink(missing_ok=True)
    done = bazar(*words, stdin=world.secrets[stdin] + "\n")
    told = f"{words}\n{done.out}\n{done.err}"
    trace = b"".join(body for _, _, body in world.collector.requests).decode()
    roots, _ = world.collector.roots, world.collector.requests.clear()
    assert [(root.name, root.attributes["process.exit.code"]) for root in roots] == [(f"bazar {name}", done.code)], told
    texts = {"stderr": done.err, "log": log.read_text() if log.exists() else "", "trace": trace}
    assert {place: found for place, text in texts.items() if (found := world.shown(text))} == {}, told
    assert world.shown(done.out) <= PRINTS.get(name, set()), told
    return done.code


def check_files(world: World) -> None:
    """Search the files that bazar keeps, but those that are meant to hold secrets."""
    homes = (world.admin.home, world.other.home)
    meant = {path for home in homes for place in KEEPS for path in home.glob(place)}
    others = {path for home in homes for path in home.rglob("*") if path.is_file()} - meant
    assert meant
    assert others
    assert {path: found for path in others if (found := world.shown(path.read_bytes().decode(errors="replace")))} == {}


def echo(server: RawServer) -> Iterator[bytes]:
    """Answer as an Auth service that refuses a request, and repeats it in its message, with quotes and without."""
    said = (server.bodies[-1] + server.requests[-1]).decode(errors="replace")
    said += said.replace('"', " ")
    body = json.dumps({"code": 422, "error_code": "validation_failed", "msg": said}).encode()
    yield b"HTTP/1.1 422 x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_no_command_shows_a_secret(world: World, tmp_path: Path) -> None:
    codes: list[int] = []
    for name, words, arguments in world.lines():
        bazar = world.other if name in ENDS_SESSION else world.admin
        logs = ("--log-file", str(tmp_path / "log"), "--log-format", "json", "--debug")
        codes.append(check(world, name, bazar, (*words, *logs, *arguments), tmp_path / "log"))
    assert codes.count(0) > len(codes) / 2, "most commands reach both systems"
    check_files(world)


def test_no_command_shows_a_secret_of_systems_that_fail(world: World, tmp_path: Path) -> None:
    password = quote(world.secrets["database"], safe="")
    with raw_server() as auth:
        auth.answer = lambda: echo(auth)
        Sessions.of(auth.instead_of(world.target), world.other.environment()).save(world.session)
        failing = {"SUPABASE_URL": auth.url, "DATABASE_URL": f"postgresql://bazar:{password}@127.0.0.1:1/x"}
        for name, words, arguments in world.lines():
            bazar = world.other if name in ENDS_SESSION else world.admin
            line = (*words, "--log-format", "text", "--debug", *arguments)
            check(world, name, bazar.having(**failing), line, tmp_path / "log")
        letters = {"SUPERUSER_PASSWORD": world.secrets["word of the superuser"], "BAZAR_TOKEN": ""}
        for words in (words for words in READS_A_PIPE if any(word.endswith("-stdin") for word in words)):
            size = next(n for n in range(len(words), 0, -1) if " ".join(words[:n]) in ALL)
            line = (*words[:size], "--log-format", "text", "--debug", *words[size:])
            bazar = world.admin.having(**failing, **letters)
            check(world, " ".join(words[:size]), bazar, line, tmp_path / "log", stdin="word on stdin")
    check_files(world)


def test_the_search_finds_a_secret_in_each_form(world: World) -> None:
    for name, secret in world.secrets.items():
        for form in forms(secret):
            assert name in world.shown(f"before {form} after")
