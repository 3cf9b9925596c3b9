"""Supabase Auth fails at each step of every change of a user in both systems, before and after it acted.

Whatever happens, the exit code is a documented one, and running the same command again, or `doctor --fix`, ends in
the wanted state in both systems: one id, one audit event, and a password only where the design sets one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import bcrypt
import pytest

from bazar_cli.domain.entities import Role, UserState
from bazar_cli.domain.target import Target
from tests.support.auth_proxy import AuthProxy, Fault, auth_proxy
from tests.support.cli import Bazar, Done
from tests.support.people import OLD_PASSWORD, Org, People, Someone, an_address

Email = Callable[[str], str]
KINDS = {"500": 500, "429": 429, "503": 503, "dropped": None}
FAULTS = pytest.mark.parametrize(
    ("status", "acts", "lasting"),
    [
        pytest.param(500, True, False, id="500 after"),
        pytest.param(429, False, True, id="429 before, for long"),
        pytest.param(503, True, True, id="503 after, for long"),
        pytest.param(None, False, False, id="dropped before"),
    ],
)
"""Before or after it acted, once or so that it cannot be asked either: each of these once, with another answer.

What an answer means is one place for all steps (`adapters.supabase.admin`); every operation meets every sort of them in
tests/services/users/test_one_answer.py. A long run has all of these with one another.
"""
EVERY_FAULT = pytest.mark.parametrize(
    ("status", "acts", "lasting"),
    [
        pytest.param(
            KINDS[k], acts, lasting, id=f"{k} {'after' if acts else 'before'}{', for long' if lasting else ''}"
        )
        for k, acts, lasting in product(KINDS, (False, True), (False, True))
    ],
)
PASSWORD = "correct horse"
USER = r"/admin/users/[0-9a-f-]{36}"


@dataclass(frozen=True)
class Case:
    """One user to be created or deleted by a superuser whose way to Auth is faulty."""

    people: People
    faulty: Bazar
    admin: Bazar
    proxy: AuthProxy

    def fails(self, method: str, path: str, status: int | None, *, acts: bool, lasting: bool) -> None:
        """Arrange one fault; after a lasting one every later request fails too."""
        self.proxy.add(Fault(method, path, status, acts=acts, lasting=lasting))

    def create(self, bazar: Bazar, email: str) -> Done:
        """Create with a password that is known, so that the outcome can be tried."""
        words = ("users", "create", email, "--name", "Ada", "--password-stdin", "-o", "json")
        return bazar(*words, stdin=f"{PASSWORD}\n")

    def delete(self, bazar: Bazar, email: str) -> Done:
        """Delete as the operator would."""
        return bazar("users", "delete", email, "--confirm", email, "-o", "json")

    def doctor(self) -> dict[str, Any]:
        """Fix what is pending; return what became of it, by email."""
        done = self.admin("doctor", "--fix", "--yes", "-o", "json")
        checks = {check["check"]: check for check in done.json["items"]}
        return {row["email"]: row["note"] for row in checks["fix"]["rows"]}

    def row(self, email: str) -> dict[str, Any] | None:
        """The stored row of an address."""
        found = self.people.sql("SELECT * FROM bazar.users WHERE email = %s", email)
        return found[0] if found else None

    def is_whole(self, email: str, by: str = "users.create") -> None:
        """One user, one identity, one id, one event, nothing pending."""
        row = self.row(email)
        [identity] = self.people.identities(email)
        assert row is not None
        assert (row["id"], row["pending"], row["lease_owner"]) == (identity["id"], None, None)
        assert [(e["use_case"], e["outcome"]) for e in self.people.events(row["id"])] == [(by, "done")]

    def is_gone(self, someone: Someone) -> None:
        """No row, no identity, one event."""
        assert self.row(someone.email) is None
        assert self.people.identities(someone.email) == []
        assert [(e["use_case"], e["outcome"]) for e in self.people.events(someone.id)] == [("users.delete", "done")]


@pytest.fixture
def case(people: People, faulty: Bazar, admin: Bazar, proxy: AuthProxy) -> Case:
    """A superuser with a faulty way, and the same one with a sound way."""
    return Case(people, faulty, admin, proxy)


# -- users create -------------------------------------------------------------------------------------------


def fault_of_a_create(case: Case, email: str, status: int | None, *, acts: bool, lasting: bool, healer: str) -> None:
    """Create a user with one fault, have it healed, and check what is there."""
    case.fails("POST", "/admin/users", status, acts=acts, lasting=lasting)

    first = case.create(case.faulty, email)

    found_out = acts and not lasting
    assert first.code == (0 if found_out else 7)
    if not found_out:
        row = case.row(email)
        assert first.error["code"] == "users.create_unfinished"
        assert "again" in first.error["hint"]
        assert row is not None
        assert (row["pending"], row["lease_owner"]) == ("create", None)
        if healer == "again":
            assert case.create(case.admin, email).ok().json["id"] == str(row["id"])
        else:
            assert case.doctor()[email].startswith("finished")
    case.is_whole(email)
    # The doctor sets no password: where it made the identity itself, nobody has one.
    has_password = acts or healer == "again"
    assert case.people.signs_in(email, PASSWORD) == has_password


@FAULTS
def test_create_ends_in_the_wanted_state(
    case: Case, unique_email: Email, status: int | None, acts: bool, lasting: bool
) -> None:
    healer = "doctor" if status == 503 else "again"
    fault_of_a_create(case, unique_email("created"), status, acts=acts, lasting=lasting, healer=healer)


@pytest.mark.long
@pytest.mark.parametrize("healer", ["again", "doctor"])
@EVERY_FAULT
def test_create_ends_in_the_wanted_state_whatever_the_fault(
    case: Case, unique_email: Email, status: int | None, acts: bool, lasting: bool, healer: str
) -> None:
    fault_of_a_create(case, unique_email("created"), status, acts=acts, lasting=lasting, healer=healer)


@pytest.mark.parametrize("status", [500, None], ids=["500", "dropped"])
def test_create_does_nothing_when_the_session_cannot_be_confirmed(
    case: Case, unique_email: Email, status: int | None
) -> None:
    email = unique_email("unconfirmed")
    case.proxy.add(Fault("GET", "/user", status))

    done = case.create(case.faulty, email)

    assert done.code == 7
    assert case.row(email) is None
    assert case.people.identities(email) == []
    assert [r for r in case.proxy.requests if "/admin/" in r] == []
    case.create(case.admin, email).ok()
    case.is_whole(email)


@pytest.mark.parametrize(
    ("method", "status", "acts"),
    [
        pytest.param("GET", 500, True, id="while it looks for its identity"),
        pytest.param("PUT", 429, False, id="before it sets the password"),
        pytest.param("PUT", None, True, id="after it set the password"),
    ],
)
def test_finishing_a_create_may_fail_too(
    case: Case, unique_email: Email, method: str, status: int | None, acts: bool
) -> None:
    email = unique_email("twice")
    case.fails("POST", "/admin/users", 503, acts=True, lasting=True)
    assert case.create(case.faulty, email).code == 7
    case.proxy.heal()
    case.fails(method, USER, status, acts=acts, lasting=False)

    second = case.create(case.faulty, email)

    assert second.code == 7
    assert case.create(case.admin, email).code == 0
    case.is_whole(email)
    assert case.people.signs_in(email, PASSWORD)


def test_a_password_that_was_used_stays_when_the_create_is_run_again(case: Case, unique_email: Email) -> None:
    email = unique_email("used")
    case.fails("POST", "/admin/users", None, acts=True, lasting=True)
    assert case.create(case.faulty, email).code == 7
    assert case.people.signs_in(email, PASSWORD)

    again = case.admin("users", "create", email, "--name", "Ada", "--password-stdin", stdin="another password\n")

    assert again.code == 0
    assert "keeps the password of an earlier run" in again.err
    assert case.people.signs_in(email, PASSWORD)
    assert not case.people.signs_in(email, "another password")
    case.is_whole(email)


# -- users delete -------------------------------------------------------------------------------------------


@FAULTS
def test_delete_ends_in_the_wanted_state(case: Case, status: int | None, acts: bool, lasting: bool) -> None:
    someone = case.people.user()
    case.people.identity(someone)
    case.fails("DELETE", USER, status, acts=acts, lasting=lasting)

    first = case.delete(case.faulty, someone.email)

    found_out = acts and not lasting
    assert first.code == (0 if found_out else 7)
    if not found_out:
        row = case.row(someone.email)
        assert first.error["code"] == "users.delete_unfinished"
        assert row is not None
        assert (row["pending"], row["lease_owner"]) == ("delete", None)
        assert case.people.signs_in(someone.email, OLD_PASSWORD) == (not acts)
        if status == 503:
            case.delete(case.admin, someone.email).ok()
        else:
            assert case.doctor()[someone.email] == "finished"
    case.is_gone(someone)


def test_delete_does_nothing_when_the_session_cannot_be_confirmed(case: Case) -> None:
    someone = case.people.user()
    case.people.identity(someone)
    before = case.people.everything()
    case.proxy.add(Fault("GET", "/user", 429))

    assert case.delete(case.faulty, someone.email).code == 7

    assert case.people.everything() == before
    case.delete(case.admin, someone.email).ok()
    case.is_gone(someone)


@pytest.mark.parametrize(
    ("status", "lasting", "healer"),
    [(503, False, "doctor"), (None, True, "again")],
    ids=["503", "dropped, for long"],
)
def test_delete_deletes_no_identity_that_it_could_not_look_up(
    case: Case, status: int | None, lasting: bool, healer: str
) -> None:
    someone = case.people.user()
    case.people.identity(someone)
    case.fails("GET", USER, status, acts=False, lasting=lasting)

    first = case.delete(case.faulty, someone.email)

    assert (first.code, first.error["code"]) == (7, "users.delete_unfinished")
    assert [r for r in case.proxy.requests if r.startswith("DELETE")] == []
    assert case.people.signs_in(someone.email, OLD_PASSWORD)
    row = case.row(someone.email)
    assert row is not None
    assert (row["pending"], row["lease_owner"]) == ("delete", None)
    if healer == "again":
        case.delete(case.admin, someone.email).ok()
    else:
        assert case.doctor()[someone.email] == "finished"
    case.is_gone(someone)


def test_create_may_fail_at_the_look_up_of_the_address_too(case: Case, unique_email: Email) -> None:
    email = unique_email("unseen")
    case.fails("POST", "/admin/users", 500, acts=False, lasting=False)
    case.fails("GET", r"/admin/users\?.*", 503, acts=False, lasting=False)

    first = case.create(case.faulty, email)

    assert (first.code, first.error["code"]) == (7, "users.create_unfinished")
    case.create(case.admin, email).ok()
    case.is_whole(email)


def test_a_hash_that_reached_supabase_works_although_its_answer_was_lost(case: Case, unique_email: Email) -> None:
    email = unique_email("hashed")
    words = ("users", "create", email, "--password-hash-stdin", "-o", "json")
    case.fails("POST", "/admin/users", 500, acts=True, lasting=True)
    assert case.faulty(*words, stdin=bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()).code == 7
    case.proxy.heal()

    again = case.faulty(*words, stdin=bcrypt.hashpw(b"another", bcrypt.gensalt(4)).decode()).ok()

    assert "keeps the password of an earlier run" in again.err
    assert case.people.signs_in(email, PASSWORD)
    assert not case.people.signs_in(email, "another")
    case.is_whole(email)


def test_a_hash_whose_answer_was_lost_is_not_taken_for_that_of_an_earlier_run(case: Case, unique_email: Email) -> None:
    email = unique_email("hashed")
    case.fails("POST", "/admin/users", 500, acts=True, lasting=False)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()

    done = case.faulty("users", "create", email, "--password-hash-stdin", stdin=hashed).ok()

    assert done.err == ""
    assert case.people.signs_in(email, PASSWORD)


# -- users suspend, users restore, users update --email -----------------------------------------------------

CHANGES = pytest.mark.parametrize("kind", ["suspend", "restore", "email"])


@dataclass(frozen=True)
class Change:
    """One change of a user whom both systems have."""

    case: Case
    kind: str
    someone: Someone
    email: str

    def __call__(self, bazar: Bazar) -> Done:
        """Run it as the operator would."""
        name, email = self.someone.email, self.email
        words = {
            "suspend": ("suspend", name, "--reason", "left", "--yes"),
            "restore": ("restore", name),
            "email": ("update", name, "--email", email),
        }
        return bazar("users", *words[self.kind], "-o", "json")

    def is_done(self) -> None:
        """Both systems have it, nothing is pending, and there is one event of it."""
        row = self.case.people.row(self.someone)
        email = self.email if self.kind == "email" else self.someone.email
        wanted = "suspended" if self.kind == "suspend" else "active"
        assert row is not None
        assert (row["email"], row["state"], row["pending"], row["lease_owner"]) == (email, wanted, None, None)
        assert [i["id"] for i in self.case.people.identities(email)] == [self.someone.id]
        assert self.case.people.signs_in(email, OLD_PASSWORD) == (self.kind != "suspend")
        use_case = {"email": "users.update"}.get(self.kind, f"users.{self.kind}")
        [event] = self.case.people.events(self.someone.id)
        assert (event["use_case"], event["outcome"]) == (use_case, "done")


def a_change(case: Case, kind: str, email: str) -> Change:
    """Make a user for this change, who has no event yet."""
    someone = case.people.user(state=UserState.SUSPENDED if kind == "restore" else UserState.ACTIVE)
    case.people.identity(someone)
    if kind == "restore":
        case.people.auth("PUT", f"/admin/users/{someone.id}", {"ban_duration": "876000h"}).raise_for_status()
    return Change(case, kind, someone, email)


@CHANGES
@FAULTS
def test_a_change_ends_in_the_wanted_state(
    case: Case, unique_email: Email, kind: str, status: int | None, acts: bool, lasting: bool
) -> None:
    change = a_change(case, kind, unique_email("moved"))
    case.fails("PUT", USER, status, acts=acts, lasting=lasting)

    first = change(case.faulty)

    found_out = acts and not lasting
    assert first.code == (0 if found_out else 7)
    if not found_out:
        row = case.people.row(change.someone)
        assert first.error["code"] == f"users.{kind}_unfinished"
        assert row is not None
        assert (row["pending"], row["lease_owner"]) == (kind, None)
        # Either heals: by turns.
        if status == 503:
            change(case.admin).ok()
        else:
            assert case.doctor()[row["email"]].startswith("finished")
    change.is_done()


@CHANGES
def test_a_change_does_nothing_when_the_session_cannot_be_confirmed(case: Case, unique_email: Email, kind: str) -> None:
    change = a_change(case, kind, unique_email("moved"))
    before = case.people.everything()
    case.proxy.add(Fault("GET", "/user", 500))
    assert change(case.faulty).code == 7
    assert case.people.everything() == before


@CHANGES
def test_looking_the_identity_up_may_fail_too(case: Case, unique_email: Email, kind: str) -> None:
    change = a_change(case, kind, unique_email("moved"))
    case.fails("PUT", USER, 500, acts=True, lasting=False)
    # An address is looked up before it is changed as well.
    looked = Fault("GET", USER, 500, times=None)
    case.proxy.add(looked)
    done = change(case.faulty)
    assert (done.code, done.error["code"]) == (7, f"users.{kind}_unfinished")
    assert looked.met
    change(case.admin).ok()
    change.is_done()


# -- users create --invite, users adopt, orgs delete ---------------------------------------------------------
#
# At the steps of an invitation and an adoption Auth fails in tests/services/users/test_invite.py and test_adoption.py;
# the deletion of an organization has no other step at Auth than this one.


def an_organization(case: Case) -> Org:
    """An organization that somebody owns."""
    org = case.people.org()
    case.people.user({org: Role.OWNER})
    return org


def test_nothing_else_begins_when_the_session_cannot_be_confirmed(case: Case, unique_email: Email) -> None:
    found, org = Someone(uuid.uuid4(), unique_email("found")), an_organization(case)
    case.people.identity(found)
    before = case.people.everything()
    for status, words in (
        (500, ("users", "create", unique_email("guest"), "--invite")),
        (429, ("users", "adopt", found.email)),
        (None, ("orgs", "delete", org.slug, "--confirm", org.slug)),
    ):
        case.proxy.add(Fault("GET", "/user", status))
        assert case.faulty(*words).code == 7
        assert case.people.everything() == before
        case.faulty(*words).ok()
        before = case.people.everything()


# -- silence ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unanswered:
    """A command, and the one of its requests that Supabase Auth does not answer."""

    email: str
    request: tuple[str, str]
    """Method and path."""
    acts: bool
    """Whether the server acted on it."""
    command: Callable[[], Done]
    is_whole: Callable[[], None]
    """Asserts the wanted state, after `doctor --fix`."""
    undone: Callable[[], bool] = lambda: True
    """Says before that whether nothing was done yet."""


@dataclass(frozen=True)
class TimedOut:
    """How such a command ended, and what became of its user."""

    unanswered: Unanswered
    done: Done
    undone: bool
    note: str | None
    """What `doctor --fix` says of the user."""


def unanswered_create(case: Case, acts: bool) -> Unanswered:
    email = an_address("silent")
    return Unanswered(
        email, ("POST", "/admin/users"), acts, lambda: case.create(case.faulty, email), lambda: case.is_whole(email)
    )


def unanswered_delete(case: Case, acts: bool) -> Unanswered:
    one = case.people.user()
    case.people.identity(one)
    request = ("DELETE", f"/admin/users/{one.id}")
    return Unanswered(one.email, request, acts, lambda: case.delete(case.faulty, one.email), lambda: case.is_gone(one))


def unanswered_change(kind: str) -> Callable[[Case, bool], Unanswered]:
    def make(case: Case, acts: bool) -> Unanswered:
        change = a_change(case, kind, an_address("moved"))
        request = ("PUT", f"/admin/users/{change.someone.id}")
        return Unanswered(change.someone.email, request, acts, lambda: change(case.faulty), change.is_done)

    return make


def unanswered_invitation(path: str) -> Callable[[Case, bool], Unanswered]:
    def make(case: Case, acts: bool) -> Unanswered:
        email = an_address("guest")
        words = ("users", "create", email, "--invite")
        return Unanswered(email, ("POST", path), acts, lambda: case.faulty(*words), lambda: case.is_whole(email))

    return make


def unanswered_adoption(case: Case, acts: bool) -> Unanswered:
    one = Someone(uuid.uuid4(), an_address("found"))
    case.people.identity(one)
    request = ("PUT", f"/admin/users/{one.id}")
    return Unanswered(
        one.email,
        request,
        acts,
        lambda: case.faulty("users", "adopt", one.email),
        lambda: case.is_whole(one.email, by="users.adopt"),
    )


def unanswered_password(case: Case, acts: bool) -> Unanswered:
    """A create that is run again sets the password of the identity that the first run left."""
    email = an_address("silent")
    case.proxy.add(Fault("POST", "/admin/users", 503, acts=True))
    case.proxy.add(Fault("GET", USER, 503))
    assert case.create(case.faulty, email).code == 7
    path = f"/admin/users/{(case.row(email) or {})['id']}"
    return Unanswered(email, ("PUT", path), acts, lambda: case.create(case.faulty, email), lambda: case.is_whole(email))


def unanswered_look_up(case: Case, acts: bool) -> Unanswered:
    """A deletion first looks the identity up."""
    one = case.people.user()
    case.people.identity(one)
    return Unanswered(
        one.email,
        ("GET", f"/admin/users/{one.id}"),
        acts,
        lambda: case.delete(case.faulty, one.email),
        lambda: case.is_gone(one),
        lambda: case.people.signs_in(one.email, OLD_PASSWORD),
    )


def unconfirmed_create(case: Case, acts: bool) -> Unanswered:
    """Every change first confirms the session."""
    email = an_address("silent")

    def nothing() -> None:
        assert case.row(email) is None
        assert case.people.identities(email) == []

    return Unanswered(email, ("GET", "/user"), acts, lambda: case.create(case.faulty, email), nothing)


def unconfirmed_org_deletion(case: Case, acts: bool) -> Unanswered:
    org = an_organization(case)

    def nothing() -> None:
        assert case.people.events(org.id) == []

    words = ("orgs", "delete", org.slug, "--confirm", org.slug)
    return Unanswered(org.slug, ("GET", "/user"), acts, lambda: case.faulty(*words), nothing)


UNANSWERED: dict[str, Callable[[Case, bool], Unanswered]] = {
    "create": unanswered_create,
    "delete": unanswered_delete,
    "suspend": unanswered_change("suspend"),
    "restore": unanswered_change("restore"),
    "email": unanswered_change("email"),
    "invite, the identity": unanswered_invitation("/admin/users"),
    "invite, the mail": unanswered_invitation("/invite"),
    "adopt": unanswered_adoption,
}
"""The step at which each change is made: its command finds out whether the server acted."""
UNANSWERED_ELSEWHERE: dict[str, Callable[[Case, bool], Unanswered]] = {
    "create, the password": unanswered_password,
    "delete, the look-up": unanswered_look_up,
    "create, the session": unconfirmed_create,
    "orgs delete, the session": unconfirmed_org_deletion,
}
"""The other steps: their commands end with 7."""
FINISHED_BY_DOCTOR = {"create before", "delete before", "create, the password", "delete, the look-up"}


@pytest.fixture(scope="module")
def timed_out(target: Target, people: People, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TimedOut]:
    """Run all of them at once, with a shorter timeout than the product's: each waits it out."""
    root = people.superuser()
    people.identity(root)
    with auth_proxy(target) as proxy:
        admin = Bazar(tmp_path_factory.mktemp("silence")).on(target).having(BAZAR_TOKEN=people.access_token(root))
        impatient = replace(admin, constants={"bazar_cli.adapters.supabase.transport.CALL_SECONDS": 4.0})
        case = Case(people, impatient.on(proxy.target), admin, proxy)
        # First what meets a fault before: no other command asks yet.
        makers = {name: (make, True) for name, make in UNANSWERED_ELSEWHERE.items()}
        for name, make in UNANSWERED.items():
            makers |= {f"{name} before": (make, False), f"{name} after": (make, True)}
        commands: dict[str, Unanswered] = {}
        with ThreadPoolExecutor(len(makers)) as pool:
            running: dict[str, Future[Done]] = {}
            for name, (make, acts) in makers.items():
                command = commands[name] = make(case, acts)
                held = proxy.hold(*command.request, acts=acts).held
                running[name] = pool.submit(command.command)
                assert held is not None
                assert held.wait(60)
        undone = {name: command.undone() for name, command in commands.items()}
        notes = case.doctor()
    return {
        name: TimedOut(command, running[name].result(), undone[name], notes.get(command.email))
        for name, command in commands.items()
    }


@pytest.mark.xdist_group("silence")
@pytest.mark.parametrize("acts", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", UNANSWERED)
def test_a_change_that_is_never_answered_ends_by_the_timeout(
    timed_out: dict[str, TimedOut], name: str, acts: bool
) -> None:
    key = f"{name} {'after' if acts else 'before'}"
    ended = timed_out[key]
    assert ended.done.code == (0 if acts else 7)
    if key in FINISHED_BY_DOCTOR:
        assert (ended.note or "").startswith("finished")
    ended.unanswered.is_whole()


@pytest.mark.xdist_group("silence")
@pytest.mark.parametrize("name", UNANSWERED_ELSEWHERE)
def test_a_step_that_is_never_answered_ends_by_the_timeout(timed_out: dict[str, TimedOut], name: str) -> None:
    ended = timed_out[name]
    assert (ended.done.code, ended.undone) == (7, True)
    if name in FINISHED_BY_DOCTOR:
        assert (ended.note or "").startswith("finished")
    ended.unanswered.is_whole()
