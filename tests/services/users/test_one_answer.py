"""Every operation on both systems ends in the same way with the same fault of Supabase Auth.

A refused key is `supabase.key_refused` (6). Any other failure is exit code 7: `supabase.unavailable` where nothing was
begun, else the code of the unfinished operation. The same command run again finishes it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from bazar_cli.domain.authz.spec import Spec
from bazar_cli.domain.doctor import PendingUser, Repair, Repaired
from bazar_cli.domain.entities import Pending, Plan, UserState
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import (
    AdoptUser,
    CreateUser,
    DeleteUser,
    ResetPassword,
    RestoreUser,
    SuspendUser,
    UpdateUser,
)
from bazar_cli.services.doctor.repair import finish_all
from bazar_cli.services.gate.backends import Backends
from bazar_cli.services.users import adopt, change_email, create, delete, reset_password
from bazar_cli.services.users import suspend as user_suspension
from tests.support.auth_proxy import Asked, between
from tests.support.demo import Demo
from tests.support.people import People, Someone, an_address

Run = Callable[[People, Someone, Someone], object]
Arrange = Callable[[People], Someone]
Answer = Callable[[], httpx.Response | None]


@dataclass(frozen=True)
class Operation:
    """An operation on a user, and the code of its error when it is not finished."""

    arrange: Arrange
    run: Run
    unfinished: str
    looks_first: bool = False
    """It looks at Supabase before it writes anything."""
    limited: str | None = None
    """The code for 429, if it is another one than `unfinished`."""


def performed(service: Callable[..., object], spec: Spec, request: Callable[[Someone], Any]) -> Run:
    def run(people: People, ruler: Someone, someone: Someone) -> object:
        return people.run(ruler, service, spec, request(someone))

    return run


def nobody(_people: People) -> Someone:
    return Someone(uuid.uuid4(), an_address())


def stranger(people: People) -> Someone:
    someone = nobody(people)
    people.identity(someone)
    return someone


def adopted(people: People) -> Someone:
    someone = stranger(people)
    people.run(people.superuser(), adopt.adopt, use_cases.ADOPT, AdoptUser(someone.email))
    return someone


def banned(people: People) -> Someone:
    someone = people.known_user(state=UserState.SUSPENDED)
    people.ban(someone)
    return someone


def suspend(people: People, ruler: Someone, someone: Someone) -> object:
    asked = SuspendUser(someone.email, "left")
    return people.run_agreeing(ruler, user_suspension.suspend, use_cases.SUSPEND, asked)


def move(backends: Backends, grant: Any, request: UpdateUser) -> object:
    return change_email.change(backends, grant, request, f"new-{request.user}")


DELETE = performed(delete.delete, use_cases.DELETE, lambda s: DeleteUser(s.email, s.email))
RESTORE = performed(user_suspension.restore, use_cases.RESTORE, lambda s: RestoreUser(s.email))
CREATE = performed(create.create, use_cases.CREATE, lambda s: CreateUser(s.email))
INVITE = performed(create.create, use_cases.CREATE, lambda s: CreateUser(s.email, invite=True))
ADOPT = performed(adopt.adopt, use_cases.ADOPT, lambda s: AdoptUser(s.email))
MOVE = performed(move, use_cases.UPDATE, lambda s: UpdateUser(s.email))
MAIL = performed(reset_password.reset, use_cases.RESET_PASSWORD, lambda s: ResetPassword(s.email))
LINK = performed(reset_password.reset, use_cases.RESET_PASSWORD, lambda s: ResetPassword(s.email, print_link=True))
LIMITED = "supabase.rate_limited"
OPERATIONS = {
    "create": Operation(nobody, CREATE, "users.create_unfinished"),
    "invite": Operation(nobody, INVITE, "users.create_unfinished"),
    "adopt": Operation(stranger, ADOPT, "users.adopt_unfinished", looks_first=True),
    "delete created": Operation(People.known_user, DELETE, "users.delete_unfinished"),
    "delete adopted": Operation(adopted, DELETE, "users.delete_unfinished"),
    "suspend": Operation(People.known_user, suspend, "users.suspend_unfinished"),
    "restore": Operation(banned, RESTORE, "users.restore_unfinished"),
    "update email": Operation(People.known_user, MOVE, "users.email_unfinished"),
    "reset-password": Operation(People.known_user, MAIL, "users.reset_unfinished", looks_first=True, limited=LIMITED),
    "reset-password link": Operation(
        People.known_user, LINK, "users.reset_unfinished", looks_first=True, limited=LIMITED
    ),
}
SAYS = {"X-Supabase-Api-Version": "2024-01-01"}
KEY: dict[str, Answer] = {
    "401 of Auth": lambda: httpx.Response(401, json={"code": "no_authorization", "message": "no"}, headers=SAYS),
    "401 of a gateway": lambda: httpx.Response(401, json={"message": "Invalid API key"}),
    "401 as a page": lambda: httpx.Response(401, html="<html>no</html>"),
    "403 of Auth": lambda: httpx.Response(403, json={"code": "not_admin", "message": "User not allowed"}, headers=SAYS),
    "403 as a page": lambda: httpx.Response(403, html="<html>no</html>"),
}
NO_ANSWER: dict[str, Answer] = {
    "dropped": lambda: None,
    "500": lambda: httpx.Response(500, json={"code": "unexpected_failure", "message": "no"}, headers=SAYS),
    "502": lambda: httpx.Response(502, html="<html>Bad Gateway</html>"),
    "503": lambda: httpx.Response(503, json={"message": "name resolution failed"}),
    "429": lambda: httpx.Response(429, json={"code": "over_request_rate_limit", "message": "no"}, headers=SAYS),
    "429 as a page": lambda: httpx.Response(429, html="<html>Slow down</html>"),
    "404 as a page": lambda: httpx.Response(404, html="<html>Not Found</html>"),
    "404 of a gateway": lambda: httpx.Response(404, json={"message": "no Route matched with those values"}),
    "200 as a page": lambda: httpx.Response(200, html="<html>Sign in to the network</html>"),
    "200 and nothing": lambda: httpx.Response(200),
    "302": lambda: httpx.Response(302, headers={"Location": "http://127.0.0.2/"}),
}


EVERY_ANSWER = ("create", "reset-password")
"""The operations of which what writes meets every answer: one that the protocol finishes, and one that it does not."""
TELLING = {"401 of Auth", "403 as a page", "dropped", "429", "404 of a gateway", "200 as a page"}
"""What meets the other operations, and everything: one answer of each sort."""


@contextmanager
def answering(people: People, answer: Answer, *, reads: bool, signs_in: bool = False) -> Generator[People]:
    """The same people where Supabase answers so to what writes, and with `reads` to everything.

    Parameters: `signs_in` leaves alone what is asked in a user's name.
    """

    def answered(asked: Asked) -> httpx.Response | None:
        met = (reads or asked.method != "GET") and not (signs_in and "/admin/" not in asked.path)
        return answer() if met else asked.passed_on(people.target.supabase_url)

    with between(answered) as url, People(replace(people.target, supabase_url=url)) as there:
        yield there


def pending_of(people: People, someone: Someone) -> list[tuple[object, object]]:
    emails = [someone.email, f"new-{someone.email}"]
    rows = people.sql("SELECT pending, lease_owner FROM bazar.users WHERE email = ANY(%s)", emails)
    return [(row["pending"], row["lease_owner"]) for row in rows]


def error_of(operation: Operation, people: People, ruler: Someone, someone: Someone) -> BazarError:
    with pytest.raises(BazarError) as failed:
        operation.run(people, ruler, someone)
    return failed.value


@pytest.fixture
def operation(request: pytest.FixtureRequest) -> Operation:
    return OPERATIONS[request.param]


def answers_for(operation: Operation, answers: dict[str, Answer], *, reads: bool) -> dict[str, Answer]:
    """What an operation meets."""
    every = not reads and operation in [OPERATIONS[name] for name in EVERY_ANSWER]
    return {name: answer for name, answer in answers.items() if every or name in TELLING}


EVERY_OPERATION = pytest.mark.parametrize("operation", OPERATIONS, indirect=True)
WHERE = pytest.mark.parametrize("reads", [False, True], ids=["what writes", "everything"])


@pytest.mark.spread
@EVERY_OPERATION
@WHERE
def test_a_key_that_is_not_taken(people: People, ruler: Someone, operation: Operation, reads: bool) -> None:
    for name, answer in answers_for(operation, KEY, reads=reads).items():
        someone = operation.arrange(people)
        with answering(people, answer, reads=reads) as there:
            error = error_of(operation, there, ruler, someone)
        assert (error.code, type(error).exit_code) == ("supabase.key_refused", Conflict.exit_code), name
        stands = [pending for pending, _ in pending_of(people, someone) if pending is not None]
        assert [error.details["pending"]] == stands if "pending" in error.details else stands == [], name
        assert re.findall(r"pending: (\w+)", error.message) == stands, name
        operation.run(people, ruler, someone)
        assert pending_of(people, someone) in ([], [(None, None)]), name


@pytest.mark.spread
@EVERY_OPERATION
@WHERE
def test_fault_that_leaves_the_outcome_unknown(
    people: People, ruler: Someone, operation: Operation, reads: bool
) -> None:
    for name, answer in answers_for(operation, NO_ANSWER, reads=reads).items():
        someone = operation.arrange(people)
        with answering(people, answer, reads=reads) as there:
            error = error_of(operation, there, ruler, someone)
        expected = operation.unfinished
        if reads and operation.looks_first:
            expected = "supabase.unavailable"
        elif name.startswith("429") and operation.limited:
            expected = operation.limited
        assert (error.code, type(error).exit_code) == (expected, BackendUnavailable.exit_code), name
        operation.run(people, ruler, someone)
        assert pending_of(people, someone) in ([], [(None, None)]), name


@pytest.mark.parametrize("operation", [o for o, what in OPERATIONS.items() if what.limited is None], indirect=True)
def test_change_that_failed_twice_stays_pending(people: People, ruler: Someone, operation: Operation) -> None:
    """An operation that goes on with an unfinished change ends with the same code as one that begins."""
    for name in ("dropped", "404 of a gateway"):
        answer = NO_ANSWER[name]
        someone = operation.arrange(people)
        with answering(people, NO_ANSWER["503"], reads=False) as there:
            error_of(operation, there, ruler, someone)
        [(pending, lease)] = pending_of(people, someone)
        assert (pending is not None, lease) == (True, None)
        with answering(people, answer, reads=not operation.looks_first) as there:
            error = error_of(operation, there, ruler, someone)
        assert (error.code, type(error).exit_code) == (operation.unfinished, BackendUnavailable.exit_code), name
        assert pending_of(people, someone) == [(pending, None)]
        operation.run(people, ruler, someone)
        assert pending_of(people, someone) in ([], [(None, None)]), name


@WHERE
@pytest.mark.parametrize("fault", ["403 as a page", "dropped", "404 of a gateway", "200 as a page"])
def test_the_doctor_leaves_users_that_it_cannot_finish(people: People, fault: str, reads: bool) -> None:
    """It says why for each user, and does not ask a service again that gave no answer."""
    doctor = people.known_user(plan=Plan.PREMIUM, superuser=True)
    left = {
        Pending.CREATE: people.user(pending=Pending.CREATE),
        Pending.DELETE: people.known_user(pending=Pending.DELETE),
        Pending.SUSPEND: people.known_user(pending=Pending.SUSPEND, state=UserState.SUSPENDED),
        Pending.RESTORE: people.known_user(pending=Pending.RESTORE),
    }
    people.ban(left[Pending.RESTORE])
    users = [PendingUser(someone.id, someone.email, kind, leased=False) for kind, someone in left.items()]
    told: list[Repair] = []

    with (
        answering(people, {**KEY, **NO_ANSWER}[fault], reads=reads, signs_in=True) as there,
        Demo(there, doctor).gate() as gate,
    ):
        repairs = finish_all(gate, users, told.append, dry_run=False)

    assert {repair.outcome for repair in repairs} == {Repaired.LEFT}
    if fault in KEY:
        assert all("refused the service key" in repair.note for repair in repairs)
    elif reads:
        assert len(told) == 1
