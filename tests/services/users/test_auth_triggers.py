"""A trigger on `auth.users` that raises: the first failure may pass, the second one names triggers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass

import pytest

from bazar_cli.domain.entities import UserState
from bazar_cli.domain.errors import BackendUnavailable, ExitCode
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import AdoptUser, CreateUser, DeleteUser, RestoreUser, SuspendUser, UpdateUser
from bazar_cli.services.users import adopt as adoption
from bazar_cli.services.users import create as user_creation
from bazar_cli.services.users import delete as user_deletion
from bazar_cli.services.users import suspend as user_suspension
from bazar_cli.services.users import update as user_update
from tests.support.auth_proxy import Fault, auth_proxy
from tests.support.people import People, Someone, an_address


@pytest.fixture
def guarded(people: People) -> Generator[Callable[[str], None]]:
    """Let a trigger of others refuse a kind of statement on `auth.users`, until it is called again."""

    def guard(event: str) -> None:
        people.sql("DROP TRIGGER IF EXISTS their_guard ON auth.users")
        if event:
            people.sql(f"CREATE TRIGGER their_guard BEFORE {event} ON auth.users EXECUTE FUNCTION public.their_guard()")

    body = "BEGIN RAISE EXCEPTION 'not on Sundays'; END"
    people.sql(f"CREATE FUNCTION public.their_guard() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
    yield guard
    people.sql("DROP FUNCTION public.their_guard() CASCADE")


@dataclass(frozen=True)
class Changes:
    """The commands that change both systems, on one user."""

    people: People
    ruler: Someone
    email: str

    def create(self) -> object:
        return self.people.run(self.ruler, user_creation.create, use_cases.CREATE, CreateUser(self.email))

    def invite(self) -> object:
        return self.people.run(self.ruler, user_creation.create, use_cases.CREATE, CreateUser(self.email, invite=True))

    def adopt(self) -> object:
        return self.people.run(self.ruler, adoption.adopt, use_cases.ADOPT, AdoptUser(self.email))

    def delete(self) -> object:
        asked = DeleteUser(self.email, confirm=self.email)
        return self.people.run(self.ruler, user_deletion.delete, use_cases.DELETE, asked)

    def suspend(self) -> object:
        asked = SuspendUser(self.email, "left")
        return self.people.run_agreeing(self.ruler, user_suspension.suspend, use_cases.SUSPEND, asked)

    def restore(self) -> object:
        return self.people.run(self.ruler, user_suspension.restore, use_cases.RESTORE, RestoreUser(self.email))

    def change_email(self) -> object:
        asked = UpdateUser(self.email, email=f"new-{self.email}")
        return self.people.run(self.ruler, user_update.update, use_cases.UPDATE, asked)


_STATEMENTS = {"create": "INSERT", "delete": "DELETE"}


@pytest.mark.parametrize("name", ["create", "invite", "adopt", "delete", "suspend", "restore", "change_email"])
def test_the_second_failure_names_triggers(
    people: People, ruler: Someone, guarded: Callable[[str], None], name: str
) -> None:
    changes = Changes(people, ruler, an_address("guarded"))
    change: Callable[[], object] = getattr(changes, name)
    if name not in {"create", "invite"}:
        state = UserState.SUSPENDED if name == "restore" else UserState.ACTIVE
        there = name != "adopt"
        someone = people.user(email=changes.email, state=state) if there else Someone(uuid.uuid4(), changes.email)
        people.identity(someone)
        if name == "restore":
            people.ban(someone)

    def refused() -> BackendUnavailable:
        people.leases_run_out()
        with pytest.raises(BackendUnavailable) as caught:
            change()
        return caught.value

    guarded(_STATEMENTS.get(name, "UPDATE"))
    first, second = refused(), refused()
    assert (first.exit_code, first.code) == (ExitCode.UNAVAILABLE, second.code)
    assert "trigger" not in first.hint
    assert "a trigger or a foreign key on auth.users" in second.hint
    query = second.hint.split("`")[1]
    assert "their_guard" in [row["tgname"] for row in people.sql(query)]
    guarded("")
    people.leases_run_out()
    change()


def test_the_first_error_and_the_limit_are_kept_when_the_look_after_it_fails(people: People, ruler: Someone) -> None:
    email, error = an_address("guarded"), None
    with auth_proxy(people.target) as proxy, People(proxy.target) as faulty:
        proxy.add(Fault("POST", "/admin/users", 500, times=None))
        for _ in range(2):
            # The second run looks at the identity before it tries to create it.
            proxy.add(Fault("GET", ".*", passes=True, times=1 if error else 0))
            proxy.add(Fault("GET", ".*", 429, retry_after="7"))
            people.leases_run_out()
            with pytest.raises(BackendUnavailable) as caught:
                Changes(faulty, ruler, email).create()
            error = caught.value

    assert error is not None
    assert error.code == "users.create_unfinished"
    assert "a trigger or a foreign key on auth.users" in error.hint
    assert "try again in 7 s" in error.hint
    assert error.details["retry_after"] == 7
