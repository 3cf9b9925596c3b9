"""Each use case with a route, on a direct and on a remote target: the same output and exit code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from bazar_cli.domain.authz.spec import Access
from bazar_cli.domain.entities import Plan, Role
from tests.cli.remote.conftest import Pair
from tests.support.api_server import Api
from tests.support.cli import Bazar, Done
from tests.support.people import People, Someone, an_address
from tests.support.tree import ALL, verb

pytestmark = pytest.mark.xdist_group("remote")

JSON = ("-o", "json")
READS = (
    "users me",
    "users get {member} -o json",
    "users get nobody@example.com",
    "users get me",
    "users list --limit 1",
    "users list --org {acme} --plan free -o json",
    "users list --org {acme} --all -o csv",
    "users list --limit 0",
    "users list --cursor x",
    "users export -o csv",
    "orgs get {acme} -o json",
    "orgs get nowhere -o json",
    "orgs list --limit 1 -o json",
    "orgs export",
    "orgs members list {acme} --role member",
    "plans list",
    "plans show premium -o json",
    "plans matrix",
    "plans usage -o json",
    "plans check users:create --user {member} -o json",
    "plans explain users:create --user {member} --org {acme}",
    "audit list --org {acme} --limit 2 -o json",
    "audit export --org {acme}",
    "users sessions list {member} -o csv",
)
WRITES = (
    "users create {new} --name Ada --org {acme} --dry-run",
    "users create {new} --name Ada --org {acme} --role admin -o json",
    "users create {member} --if-not-exists",
    "users create {other} --generate-password -o json",
    "users adopt {stranger}",
    "users update {member} --name Grace -o json",
    "users update {member} --name Grace",
    "users suspend {member} --reason lost",
    "users suspend {member} --reason lost --yes",
    "users restore {member} -o json",
    "users promote {member} --confirm wrong",
    "users promote {member} --confirm {member}",
    "users demote {member} --confirm {member}",
    "users reset-password {member}",
    "users sessions revoke {member} -o json",
    "orgs create Another --slug {new-slug} -o json",
    "orgs create Another --slug {new-slug}",
    "orgs update {acme} --name Renamed",
    "orgs members add {acme} {alone} --role admin",
    "orgs members update {acme} {alone} --role member -o json",
    "orgs members remove {acme} {alone}",
    "orgs members remove {acme} {alone} --yes",
    "plans assign {member} plus",
    "plans assign {member} free -o json",
    "plans assign {member} free --yes",
    "plans grant plus audit:read -o json",
    "plans revoke plus files:execute",
    "plans revoke plus files:execute --yes",
    "users delete {member} -o json",
    "users delete {member} --confirm {member}",
    "orgs delete {acme} --confirm {acme}",
    "audit verify -o json",
)
_DIFFERS = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32,64}|eyJ[\w.-]+"
)
"""Times, ids, request ids, hashes and tokens."""


@dataclass(frozen=True)
class World:
    """An organization and people of one side, which no other test has."""

    values: Mapping[str, str]

    def words(self, line: str) -> list[str]:
        """The words of a command line on them."""
        return [word.format(**self.values) for word in line.split()]

    def shown(self, done: Done, side: Bazar, url: str) -> tuple[int, str, str]:
        """A result without what differs between two worlds."""
        return done.code, self._plain(done.out, side, url), self._plain(done.err, side, url)

    def _plain(self, text: str, side: Bazar, url: str) -> str:
        for name, value in self.values.items():
            text = text.replace(value, name.upper())
        text = re.sub(r'"password": "[^"]+"', '"password": "NEW"', text)
        return _DIFFERS.sub("...", text.replace(url, "URL").replace(str(side.home), "HOME"))


@pytest.fixture
def world_of(people: People) -> Callable[[], World]:
    """Make a world."""

    def make() -> World:
        acme = people.org(name="Acme")
        member = people.known_user({acme: Role.MEMBER})
        people.access_token(member)
        stranger = Someone(people.user().id, an_address("stranger"))
        people.sql("DELETE FROM bazar.users WHERE id = %s", stranger.id)
        people.identity(stranger)
        addresses = {"new": an_address("new"), "other": an_address("other"), "stranger": stranger.email}
        named = {"member": member.email, "alone": people.known_user().email, "acme": acme.slug}
        return World({**named, **addresses, "new-slug": f"{acme.slug}-new"})

    return make


def test_reads(pair_of: Callable[[Someone], Pair], people: People, api: Api, world_of: Callable[[], World]) -> None:
    ruler = people.user(plan=Plan.PREMIUM, superuser=True)
    people.identity(ruler)
    pair, world = pair_of(ruler), world_of()
    url = people.target.supabase_url
    for line in READS:
        words = world.words(line)
        expected = world.shown(pair.direct(*words), pair.direct, url)
        assert world.shown(pair.remote(*words), pair.remote, api.url) == expected, line


def test_writes(pair_of: Callable[[Someone], Pair], people: People, api: Api, world_of: Callable[[], World]) -> None:
    pair = pair_of(people.known_superuser())
    theirs, ours = world_of(), world_of()
    url = people.target.supabase_url
    for line in WRITES:
        expected = theirs.shown(pair.direct(*theirs.words(line)), pair.direct, url)
        if line.startswith(("plans grant", "plans revoke")):
            people.seed_plans()  # both sides have one plan table
        assert ours.shown(pair.remote(*ours.words(line)), pair.remote, api.url) == expected, line


def test_denials_and_their_events(
    pair_of: Callable[[Someone], Pair], people: People, world_of: Callable[[], World]
) -> None:
    member = people.known_user(plan=Plan.PREMIUM)
    pair, world = pair_of(member), world_of()
    events: list[int] = []
    for side in (pair.direct, pair.remote):
        before = len(people.sql("SELECT 1 FROM bazar.audit_events WHERE operator_id = %s", member.id))
        for words in (("plans", "assign", world.values["member"], "plus"), ("users", "create", an_address())):
            done = side(*words, *JSON)
            assert (done.code, done.out, done.error["code"][:7]) == (5, "", "access."), done.err
            denial = people.sql("SELECT request_id FROM bazar.audit_events ORDER BY seq DESC LIMIT 1")
            assert denial == [{"request_id": done.error["request_id"]}]
        events.append(len(people.sql("SELECT 1 FROM bazar.audit_events WHERE operator_id = %s", member.id)) - before)
    assert events == [2, 2]


def test_every_command_with_a_route_is_compared_or_one_of_the_account() -> None:
    lines = [*READS, *WRITES]
    compared = {name for name in ALL for line in lines if line == name or line.startswith(f"{name} ")}
    routed = {name for name, (_, leaf) in ALL.items() if verb(leaf).spec.route is not None}
    assert routed - compared == {name for name in ALL if name.startswith("auth ")}


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, (_, leaf) in ALL.items()
        if verb(leaf).spec.route is None and verb(leaf).spec.access is not Access.PUBLIC
    ],
)
def test_a_command_without_a_route_needs_a_direct_target(signed_out: Bazar, name: str) -> None:
    given = {
        "apply": ("-f", "state.yaml"),
        "diff": ("-f", "state.yaml"),
        "db drop": ("--confirm", "x"),
        "db env set": ("test", "--unprotected"),
        "db baseline": ("0001",),
        "db revision": ("-m", "x", "--autogenerate"),
        "users import": ("users.csv",),
        "users imports show": ("0193b3c4-0000-7000-8000-00000000000a",),
        "users imports undo": ("0193b3c4-0000-7000-8000-00000000000a",),
    }
    folder = signed_out.folder("work")
    (folder / "state.yaml").write_text("organizations: []\n")
    (folder / "users.csv").write_text("email\nada@example.com\n")
    done = signed_out(*name.split(), *given.get(name, ()), *JSON)
    error = json.loads(done.err.splitlines()[-1])["error"]
    assert (done.code, done.out, error["code"]) == (2, "", "target.needs_direct"), done.err
    assert name in error["message"]
