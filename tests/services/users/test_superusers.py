"""`users promote` and `users demote`: the superuser flag, and the last one who has it."""

from __future__ import annotations

from functools import partial

import pytest

from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.entities import Pending, Plan, User, UserState
from bazar_cli.domain.errors import Conflict, ExitCode, NotFound, Refused
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import ChangeSuperuser
from bazar_cli.services.users import superusers
from tests.support.concurrently import run_concurrently
from tests.support.people import People, Someone, granted

VERBS = {"promote": (superusers.promote, use_cases.PROMOTE), "demote": (superusers.demote, use_cases.DEMOTE)}
BOTH = pytest.mark.parametrize("verb", VERBS)


def change(people: People, operator: Someone, verb: str, someone: Someone, *, dry_run: bool = False) -> User:
    service, spec = VERBS[verb]
    request = ChangeSuperuser(someone.email, someone.email)
    return people.run(operator, service, spec, request, dry_run=dry_run).user


def is_superuser(people: People, someone: Someone) -> bool:
    return (people.row(someone) or {})["is_superuser"]


@BOTH
def test_the_flag_is_written_once_with_one_event(people: People, verb: str) -> None:
    ruler, someone = people.superuser(), people.user(superuser=verb == "demote")
    wanted = verb == "promote"

    for _ in range(2):
        assert change(people, ruler, verb, someone).is_superuser is wanted

    assert is_superuser(people, someone) is wanted
    [event] = people.events(someone.id)
    assert (event["use_case"], event["outcome"], event["operator_id"]) == (f"users.{verb}", "done", ruler.id)
    assert (event["before"], event["after"]) == ({"is_superuser": not wanted}, {"is_superuser": wanted})


@BOTH
@pytest.mark.parametrize("confirm", [None, "", "someone.else@example.com"])
def test_without_the_right_confirmation_nothing_happens(people: People, verb: str, confirm: str | None) -> None:
    ruler, someone = people.superuser(), people.user(superuser=verb == "demote")
    before = people.everything()
    service, spec = VERBS[verb]

    with pytest.raises(Refused) as refused:
        people.run(ruler, service, spec, ChangeSuperuser(str(someone.id), confirm))

    assert refused.value.exit_code is ExitCode.REFUSED
    assert refused.value.hint == f"to do it: `bazar users {verb} {someone.email} --confirm {someone.email}`"
    assert people.everything() == before


@BOTH
def test_a_dry_run_writes_nothing(people: People, verb: str) -> None:
    ruler, someone = people.superuser(), people.user(superuser=verb == "demote")
    before = people.everything()

    planned = change(people, ruler, verb, someone, dry_run=True)

    assert planned.is_superuser is (verb == "promote")
    assert people.everything() == before


@BOTH
def test_unknown_user(people: People, verb: str) -> None:
    service, spec = VERBS[verb]
    with pytest.raises(NotFound):
        people.run(people.superuser(), service, spec, ChangeSuperuser("nobody@example.com", "nobody@example.com"))


@pytest.mark.parametrize(
    ("state", "pending", "code"),
    [
        (UserState.SUSPENDED, None, "users.suspended"),
        (UserState.ACTIVE, Pending.CREATE, "users.pending"),
        (UserState.ACTIVE, Pending.DELETE, "users.pending"),
    ],
)
def test_a_user_out_of_service_is_not_promoted(
    people: People, state: UserState, pending: Pending | None, code: str
) -> None:
    someone = people.user(state=state, pending=pending)
    with pytest.raises(Conflict) as conflict:
        change(people, people.superuser(), "promote", someone)
    assert conflict.value.code == code
    if pending is None:
        assert conflict.value.details == {"user_id": str(someone.id)}
    assert not is_superuser(people, someone)


@pytest.mark.parametrize(("state", "pending"), [(UserState.SUSPENDED, None), (UserState.ACTIVE, Pending.DELETE)])
def test_a_user_out_of_service_is_demoted(people: People, state: UserState, pending: Pending | None) -> None:
    someone = people.user(superuser=True, plan=Plan.PREMIUM, state=state, pending=pending)
    change(people, people.superuser(), "demote", someone)
    assert not is_superuser(people, someone)
    assert (people.row(someone) or {})["pending"] == pending


def test_oneself_is_demoted_unless_the_last(alone: People) -> None:
    me = alone.superuser()
    alone.user(superuser=True, plan=Plan.PLUS)
    alone.user(superuser=True, plan=Plan.PREMIUM, state=UserState.SUSPENDED)

    with pytest.raises(Conflict) as conflict:
        change(alone, me, "demote", me)
    assert conflict.value.code == "users.last_superuser"
    assert is_superuser(alone, me)

    alone.superuser()
    change(alone, me, "demote", me)
    assert not is_superuser(alone, me)


@pytest.mark.parametrize("each", ["the other", "themselves"])
def test_one_of_two_demotions_at_once_wins(alone: People, each: str) -> None:
    for _ in range(3):
        alone.sql("UPDATE bazar.users SET is_superuser = false")
        ada, bob = alone.superuser(), alone.superuser()
        pairs = ((ada, bob), (bob, ada)) if each == "the other" else ((ada, ada), (bob, bob))

        # Both passed the gate: who comes later than that is denied, and tells nothing of the race.
        asked = [(who, ChangeSuperuser(someone.email, someone.email)) for who, someone in pairs]
        granted_to = [(granted(alone.operator(who), use_cases.DEMOTE, request), request) for who, request in asked]

        def try_it(grant: Grant, request: ChangeSuperuser) -> object:
            with People(alone.target) as own:
                return own.run_with(grant, superusers.demote, request)

        ends = run_concurrently(*(partial(try_it, grant, request) for grant, request in granted_to))

        assert sorted(ends) in (["access.changed", "done"], ["done", "users.last_superuser"])
        assert is_superuser(alone, ada) != is_superuser(alone, bob)
