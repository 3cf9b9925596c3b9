"""Writing more than one may: above one's role, outside one's organizations, or under another pretext."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from bazar_cli.domain.entities import Pending, Plan, Role, UserState
from tests.cli.escalations.conftest import JSON, Attack, World, told
from tests.support.cli import Bazar
from tests.support.people import People, Someone

AsUser = Callable[[Someone], Bazar]
PLATFORM, ROLE, PLAN = (5, "access.platform"), (5, "access.role"), (5, "access.plan")
NO_USER, NO_ORG = (3, "users.not_found"), (3, "orgs.not_found")


# -- creating -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "ends"),
    [
        ((), PLATFORM),
        (("--org", "ACME", "--role", "owner"), ROLE),
        (("--org", "ACME", "--role", "admin"), ROLE),
        (("--org", "ACME", "--plan", "plus"), PLATFORM),
        (("--org", "ACME", "--plan", "premium", "--dry-run"), PLATFORM),
        (("--org", "BETA"), NO_ORG),
        (("--org", "BETA", "--role", "owner", "--dry-run"), NO_ORG),
        (("--org", "nowhere"), NO_ORG),
    ],
)
def test_admin_creates_no_user_above_or_outside(
    attack: Attack,
    admin_of_acme: Bazar,
    world: World,
    unique_email: Callable[[str], str],
    words: tuple[str, ...],
    ends: tuple[int, str],
) -> None:
    named = {"ACME": world.acme.slug, "BETA": world.beta.slug}
    attack(admin_of_acme, "users", "create", unique_email("new"), *(named.get(w, w) for w in words), ends=ends)


@pytest.mark.parametrize("role", list(Role))
def test_owner_without_premium_creates_no_user(
    attack: Attack, as_user: AsUser, world: World, people: People, unique_email: Callable[[str], str], role: Role
) -> None:
    bazar = as_user(people.user({world.acme: Role.OWNER}, plan=Plan.PLUS))
    words = ("users", "create", unique_email("new"), "--org", world.acme.slug, "--role", role.value)
    attack(bazar, *words, ends=PLAN)


@pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN])
@pytest.mark.parametrize("plan", [Plan.FREE, Plan.PREMIUM])
def test_admin_does_not_finish_what_takes_more_to_begin(
    attack: Attack, admin_of_acme: Bazar, world: World, people: People, role: Role, plan: Plan
) -> None:
    # Whoever finishes a creation may choose the password: of an owner to be, that would be the owner's rights.
    left = people.user({world.acme: role}, plan=plan, pending=Pending.CREATE)
    create = ("users", "create", left.email, "--org", world.acme.slug, "--password-stdin")
    attack(admin_of_acme, *create, ends=(6, "users.differs"), stdin="my-own-password")
    attack(admin_of_acme, *create, "--role", role.value, ends=ROLE, stdin="my-own-password")


def test_unfinished_member_of_two_organizations_is_not_finished_by_one_of_them(
    attack: Attack, admin_of_acme: Bazar, world: World, people: People
) -> None:
    left = people.user({world.acme: Role.MEMBER, world.beta: Role.OWNER}, pending=Pending.CREATE)
    create = ("users", "create", left.email, "--org", world.acme.slug, "--password-stdin")
    attack(admin_of_acme, *create, ends=(6, "users.differs"), stdin="my-own-password")


def test_creation_is_finished_by_an_operator_who_may_begin_it(as_user: AsUser, world: World, people: People) -> None:
    left = people.user({world.acme: Role.ADMIN}, pending=Pending.CREATE)
    bazar = as_user(people.user({world.acme: Role.OWNER}, plan=Plan.PREMIUM))
    bazar("users", "create", left.email, "--org", world.acme.slug, "--role", "admin", *JSON).ok()
    assert (people.row(left) or {})["pending"] is None
    assert len(people.identities(left.email)) == 1


@pytest.mark.parametrize("words", [(), ("--if-not-exists",), ("--if-not-exists", "--name", "Fritz Foreign")])
def test_taken_address_does_not_show_its_user(
    attack: Attack, admin_of_acme: Bazar, world: World, people: People, words: tuple[str, ...]
) -> None:
    beta = {world.beta: Role.OWNER}
    taken = [
        world.foreign,
        world.alone,
        people.user(beta, name="Fritz Foreign", plan=Plan.PREMIUM, superuser=True),
        people.user(beta, state=UserState.SUSPENDED),
        people.user(beta, pending=Pending.DELETE),
        people.user(beta, pending=Pending.CREATE, name="Fritz Foreign"),
        people.user(beta, pending=Pending.CREATE, name="Another"),
    ]
    texts: set[str] = set()
    for someone in taken:
        create = ("users", "create", someone.email, "--org", world.acme.slug, *words)
        for dry in ((), ("--dry-run",)):
            done = attack(admin_of_acme, *create, *dry, ends=(6, "users.email_exists"))
            texts.add(told(done, someone.email))
    assert len(texts) == 1


# -- changing and deleting ----------------------------------------------------------------------------------


@pytest.mark.spread
@pytest.mark.parametrize("verb", ["delete", "update", "suspend", "restore"])
@pytest.mark.parametrize("by", ["id", "email"])
@pytest.mark.parametrize(
    ("whom", "ends"),
    [
        ("owner", ROLE),
        ("admin", ROLE),
        ("ruler", PLATFORM),
        ("shared", ROLE),
        ("foreign", NO_USER),
        ("alone", NO_USER),
    ],
)
def test_admin_changes_no_user_at_or_above_their_role_or_outside(
    attack: Attack, admin_of_acme: Bazar, world: World, verb: str, by: str, whom: str, ends: tuple[int, str]
) -> None:
    someone: Someone = getattr(world, whom)
    attack.people.identity(someone)
    named = str(someone.id) if by == "id" else someone.email
    more = {
        "delete": ("--confirm", someone.email),
        "update": ("--name", "Pwned"),
        "suspend": ("--reason", "mine now", "--yes"),
        "restore": (),
    }[verb]
    done = attack(admin_of_acme, "users", verb, named, *more, ends=ends)
    planned = attack(admin_of_acme, "users", verb, named, *more, "--dry-run", ends=ends)
    # A dry run answers as the run would, and keeps no record that could tell.
    assert told(planned, named) == told(done, named)


@pytest.mark.parametrize("roles", [{}, {"acme": Role.MEMBER}, {"beta": Role.OWNER}])
def test_role_in_another_organization_does_not_count(
    attack: Attack, as_user: AsUser, world: World, people: People, roles: dict[str, Role]
) -> None:
    mine = {getattr(world, org): role for org, role in roles.items()}
    bazar = as_user(people.user(mine, plan=Plan.PREMIUM))
    ends = ROLE if "acme" in roles else NO_USER
    attack(bazar, "users", "delete", world.member.email, "--confirm", world.member.email, ends=ends)
    attack(bazar, "users", "update", world.member.email, "--name", "Pwned", ends=ends)


@pytest.mark.parametrize("superuser", [True, False])
def test_nobody_deletes_themselves(
    attack: Attack, as_user: AsUser, world: World, people: People, superuser: bool
) -> None:
    me = people.user({world.acme: Role.OWNER}, plan=Plan.PREMIUM, superuser=superuser)
    bazar = as_user(me)
    for named in (me.email, str(me.id)):
        attack(bazar, "users", "delete", named, "--confirm", me.email, ends=(5, "access.oneself"))


@pytest.mark.parametrize("superuser", [True, False])
def test_nobody_suspends_themselves(
    attack: Attack, as_user: AsUser, world: World, people: People, superuser: bool
) -> None:
    me = people.user({world.acme: Role.OWNER}, plan=Plan.PREMIUM, superuser=superuser)
    bazar = as_user(me)
    for consent in (("--yes",), ()):
        attack(bazar, "users", "suspend", me.email, "--reason", "tired", *consent, ends=(5, "access.oneself"))


@pytest.mark.parametrize("whom", ["member", "foreign", "alone", "nobody"])
def test_address_is_changed_by_superusers_only(
    attack: Attack, admin_of_acme: Bazar, world: World, unique_email: Callable[[str], str], whom: str
) -> None:
    named = "nobody@example.com" if whom == "nobody" else getattr(world, whom).email
    for taken in (unique_email("mine"), world.foreign.email):
        attack(admin_of_acme, "users", "update", named, "--email", taken, ends=PLATFORM)


def test_old_address_of_an_invisible_user_is_not_found(
    attack: Attack, admin_of_acme: Bazar, admin: Bazar, world: World, unique_email: Callable[[str], str]
) -> None:
    attack.people.identity(world.foreign)
    email = unique_email("moved")
    admin("users", "update", world.foreign.email, "--email", email).ok()
    attack(admin_of_acme, "users", "update", world.foreign.email, "--email", email, ends=PLATFORM)
    attack(admin_of_acme, "users", "update", world.foreign.email, "--name", "Pwned", ends=NO_USER)


def test_confirmation_for_an_invisible_user_shows_nothing(attack: Attack, admin_of_acme: Bazar, world: World) -> None:
    texts: set[str] = set()
    for named in (str(world.foreign.id), str(uuid.uuid4())):
        done = attack(admin_of_acme, "users", "delete", named, "--confirm", world.foreign.email, ends=NO_USER)
        texts.add(told(done, named))
    assert len(texts) == 1


@pytest.mark.parametrize("whom", ["foreign", "member"])
def test_only_superusers_name_another_owner(attack: Attack, admin_of_acme: Bazar, world: World, whom: str) -> None:
    someone: Someone = getattr(world, whom)
    attack(admin_of_acme, "orgs", "create", "Mine", "--owner", someone.email, ends=PLATFORM)


def test_superuser_off_premium_writes_nothing(attack: Attack, as_user: AsUser, world: World, people: People) -> None:
    bazar = as_user(people.user(plan=Plan.PLUS, superuser=True))
    attack(bazar, "users", "delete", world.member.email, "--confirm", world.member.email, ends=PLAN)
    attack(bazar, "orgs", "create", "Mine", ends=PLAN)
    attack(bazar, "db", "migrate", ends=PLAN)
