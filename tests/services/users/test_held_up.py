"""A create that is held up longer than its lease, by SIGSTOP or a sleeping laptop, while another command goes on.

No signal from outside can hit the moment between two lines of a process. So the other command runs inside it, right
before the lease is checked or right before Supabase is asked.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bazar_cli.adapters.supabase.admin import AdminClient
from bazar_cli.domain.doctor import FIX
from bazar_cli.domain.entities import Plan, Role
from bazar_cli.domain.errors import Conflict
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import CreateUser, DeleteUser, NewPassword
from bazar_cli.domain.users.identities import NewIdentity
from bazar_cli.services.users import create as user_creation
from bazar_cli.services.users import delete, leases
from bazar_cli.services.users.resume import resume
from tests.support.people import People, Someone

Emails = Callable[[str], str]
Interrupt = Callable[[Callable[[], None]], None]
MINE, THEIRS = "Mine-and-long-1", "Theirs-and-long-2"


@pytest.fixture(params=["before the lease is looked at", "before Supabase is asked"])
def held_up(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, people: People) -> Interrupt:
    """Run something once in the middle of a create, after its lease ran out."""

    def arrange(meanwhile: Callable[[], None]) -> None:
        waiting = [meanwhile]

        def happens() -> bool:
            if not waiting:
                return False
            people.leases_run_out()
            waiting.pop()()
            return True

        if request.param == "before the lease is looked at":
            fresh = leases.Since.allows_a_call

            def allows_a_call(self: leases.Since) -> bool:
                return not happens() and fresh(self)

            monkeypatch.setattr(leases.Since, "allows_a_call", allows_a_call)
            return
        ask = AdminClient.create

        def create(self: AdminClient, identity: NewIdentity) -> None:
            happens()
            ask(self, identity)

        monkeypatch.setattr(AdminClient, "create", create)

    return arrange


def with_password(email: str, password: str | None) -> CreateUser:
    return CreateUser(email, password=NewPassword(plain=Secret(password)) if password else None)


def loses(people: People, ruler: Someone, email: str, password: str | None = MINE) -> Conflict:
    with pytest.raises(Conflict) as lost:
        people.run(ruler, user_creation.create, use_cases.CREATE, with_password(email, password))
    assert lost.value.code == "users.taken_over"
    return lost.value


def test_another_create_keeps_its_password(people: People, held_up: Interrupt, unique_email: Emails) -> None:
    ruler, email = people.superuser(), unique_email("stalled")
    request = with_password(email, THEIRS)
    held_up(lambda: people.run(ruler, user_creation.create, use_cases.CREATE, request) and None)

    loses(people, ruler, email)

    assert people.signs_in(email, THEIRS)
    assert not people.signs_in(email, MINE)
    [identity] = people.identities(email)
    assert [e["outcome"] for e in people.events(identity["id"])] == ["done"]


def test_no_password_is_shown_of_a_user_that_the_doctor_finished(
    people: People, held_up: Interrupt, unique_email: Emails
) -> None:
    ruler, email = people.superuser(), unique_email("stalled")

    def doctor() -> None:
        [row] = people.sql("SELECT id FROM bazar.users WHERE email = %s", email)
        people.run(ruler, resume, FIX, row["id"])

    held_up(doctor)

    loses(people, ruler, email)

    [identity] = people.identities(email)
    [row] = people.sql("SELECT id, pending FROM bazar.users WHERE email = %s", email)
    assert (row["id"], row["pending"]) == (identity["id"], None)
    assert not people.signs_in(email, MINE)


@pytest.mark.parametrize("password", [MINE, None], ids=["with a password", "without"])
def test_a_user_deleted_meanwhile_leaves_no_identity(
    people: People, held_up: Interrupt, unique_email: Emails, password: str | None
) -> None:
    ruler, email = people.superuser(), unique_email("stalled")
    held_up(lambda: people.run(ruler, delete.delete, use_cases.DELETE, DeleteUser(email, email)) and None)

    loses(people, ruler, email, password)

    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", email) == []
    assert people.identities(email) == []


def test_a_user_who_became_invisible_meanwhile_keeps_the_identity(
    people: People, unique_email: Emails, monkeypatch: pytest.MonkeyPatch
) -> None:
    org, email = people.org(), unique_email("moved")
    admin = people.user({org: Role.ADMIN}, plan=Plan.PREMIUM)
    ask = AdminClient.create

    def create(self: AdminClient, identity: NewIdentity) -> None:
        ask(self, identity)
        people.sql("DELETE FROM bazar.memberships WHERE user_id = %s", identity.id)

    monkeypatch.setattr(AdminClient, "create", create)
    with pytest.raises(Conflict) as lost:
        people.run(admin, user_creation.create, use_cases.CREATE, CreateUser(email, organization=org.slug))
    assert (lost.value.code, "it was done" in lost.value.message) == ("users.taken_over", True)
    [row] = people.sql("SELECT id, pending FROM bazar.users WHERE email = %s", email)
    [identity] = people.identities(email)
    assert (row["id"], row["pending"]) == (identity["id"], None)


def test_a_lease_that_nobody_took_is_renewed(people: People, held_up: Interrupt, unique_email: Emails) -> None:
    ruler, email = people.superuser(), unique_email("stalled")
    held_up(lambda: None)

    made = people.run(ruler, user_creation.create, use_cases.CREATE, with_password(email, MINE))

    assert made.user.pending is None
    assert people.signs_in(email, MINE)
