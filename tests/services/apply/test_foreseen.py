"""What `apply` foresees: the rules of each command, asked of the planned state before the first write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bazar_cli.domain.authz.permissions import KEPT_BY_PREMIUM, SEEDED_PLANS, Permission
from bazar_cli.domain.declared.changes import Change, Result
from bazar_cli.domain.declared.state import DeclaredOrganization, DeclaredPlan, DeclaredState, DeclaredUser
from bazar_cli.domain.entities import Plan, Role, UserState
from bazar_cli.domain.errors import Conflict, Denied, UsageError
from bazar_cli.services.apply import foresee
from tests.support.declared import ALL_REMOVALS, Declaring, company, lines, member, wanted
from tests.support.people import Org, People, Someone, an_address

ACTIVE, SUSPENDED = UserState.ACTIVE, UserState.SUSPENDED


def codes(results: Sequence[Result]) -> list[str | None]:
    return [result.code for result in results]


def foreseen(declaring: Declaring, state: DeclaredState) -> list[str | None]:
    return codes(declaring.prepare(wanted(state, ALL_REMOVALS), dry_run=True).results)


def assert_denied(people: People, declaring: Declaring, state: DeclaredState) -> Denied:
    """Assert that the dry run and the real run are denied in the same way, and that neither writes a change."""
    users = people.sql("SELECT * FROM bazar.users ORDER BY id")
    memberships = people.sql("SELECT * FROM bazar.memberships ORDER BY user_id, organization_id")
    with pytest.raises(Denied) as dry:
        declaring.prepare(wanted(state, ALL_REMOVALS), dry_run=True)
    with pytest.raises(Denied) as real:
        declaring.apply(state, ALL_REMOVALS)
    assert (real.value.code, real.value.lines) == (dry.value.code, dry.value.lines)
    assert people.sql("SELECT * FROM bazar.users ORDER BY id") == users
    assert people.sql("SELECT * FROM bazar.memberships ORDER BY user_id, organization_id") == memberships
    return real.value


def test_change_that_a_row_forbids_is_denied_before_the_first_write(people: People) -> None:
    acme = people.org()
    declaring = Declaring(people, people.known_user({acme: Role.ADMIN}, plan=Plan.PREMIUM))
    mine, peer = (people.user({acme: role}, name="Ada") for role in (Role.MEMBER, Role.ADMIN))
    state = DeclaredState(users=tuple(DeclaredUser(one.email, "New") for one in (mine, peer)))
    denied = assert_denied(people, declaring, state)
    assert denied.code == "access.role"
    assert denied.lines[0].startswith("1 change cannot be made, so nothing was written: to change ")
    assert denied.lines[1:] == (f"  ~ user {peer.email}: name Ada -> New",)
    (event,) = people.sql("SELECT use_case, outcome, target_id FROM bazar.audit_events ORDER BY seq DESC LIMIT 1")
    assert (event["use_case"], event["outcome"]) == ("users.update", "denied")


def test_operator_cannot_suspend_oneself(people: People, root: Someone) -> None:
    ada = people.user(name="Ada")
    state = DeclaredState(users=(DeclaredUser(ada.email, "New"), DeclaredUser(root.email, state=SUSPENDED)))
    assert assert_denied(people, Declaring(people, root), state).code == "access.oneself"


def test_superuser_is_changed_by_superusers_only(people: People, root: Someone) -> None:
    acme = people.org()
    owner = people.known_user({acme: Role.OWNER}, plan=Plan.PREMIUM)
    boss = people.user({acme: Role.MEMBER}, plan=Plan.FREE, superuser=True)
    state = company(acme.slug, DeclaredUser(boss.email, "New", organizations=(member(acme.slug),)), name=None)
    assert assert_denied(people, Declaring(people, owner), state).code == "access.platform"


def test_last_superuser_and_last_owner_are_foreseen(people: People, root: Someone) -> None:
    acme, declaring = people.org(), Declaring(people, root)
    ada, bob = (people.user({acme: Role.OWNER}, name="Ada") for _ in range(2))
    people.sql("UPDATE bazar.users SET state = 'suspended' WHERE id = %s", bob.id)
    state = company(
        acme.slug,
        DeclaredUser(ada.email, "New", organizations=(member(acme.slug, Role.MEMBER),)),
        DeclaredUser(bob.email, organizations=(member(acme.slug, Role.OWNER),)),
        DeclaredUser(root.email, plan=Plan.FREE),
        name=None,
    )
    expected = [None, "users.last_owner", "users.last_superuser"]
    assert foreseen(declaring, state) == expected
    assert codes(declaring.apply(state, ALL_REMOVALS).results) == expected


def test_change_is_judged_after_those_that_come_before_it(people: People, root: Someone) -> None:
    acme, declaring = people.org(), Declaring(people, root)
    ada, bob, eve = (people.user({acme: role}) for role in (Role.OWNER, Role.MEMBER, Role.OWNER))
    boss = an_address("boss")
    hands_over = company(
        acme.slug,
        DeclaredUser(bob.email, organizations=(member(acme.slug, Role.OWNER),)),
        DeclaredUser(ada.email, organizations=(member(acme.slug, Role.MEMBER),), state=SUSPENDED),
        DeclaredUser(eve.email, organizations=(member(acme.slug, Role.MEMBER),)),
        name=None,
    )
    assert foreseen(declaring, hands_over) == [None] * 4
    declaring.make(hands_over, ALL_REMOVALS)
    takes_both = company(
        acme.slug,
        DeclaredUser(bob.email, organizations=(member(acme.slug, Role.MEMBER),)),
        DeclaredUser(boss, organizations=(member(acme.slug, Role.MEMBER),)),
        name=None,
    )
    assert foreseen(declaring, takes_both) == [None, "users.last_owner", None, None]


def test_address_and_slug_of_others_are_foreseen_with_what_needs_them(people: People) -> None:
    theirs = people.org(name="Theirs")
    stranger, mine = people.user({theirs: Role.OWNER}), people.org(name="Mine")
    declaring = Declaring(people, people.known_user({mine: Role.OWNER}, plan=Plan.PREMIUM))
    state = DeclaredState(
        (DeclaredOrganization(mine.slug), DeclaredOrganization(theirs.slug, "Mine")),
        (DeclaredUser(stranger.email, organizations=(member(mine.slug), member(theirs.slug))),),
    )
    expected = ["orgs.slug_exists", "users.email_exists", "apply.depends"]
    assert codes(declaring.prepare(wanted(state), dry_run=True).results) == expected
    assert codes(declaring.apply(state).results) == expected


# -- the rights of the operator --------------------------------------------------------------------------------------


def test_operators_own_rights_are_taken_after_all_other_changes(people: People) -> None:
    acme = people.org()
    operator = people.known_user({acme: Role.OWNER}, plan=Plan.PREMIUM)
    other, gone = people.user({acme: Role.OWNER}), people.user({acme: Role.ADMIN})
    declaring = Declaring(people, operator)
    state = company(
        acme.slug,
        DeclaredUser(operator.email, organizations=(member(acme.slug, Role.MEMBER),)),
        DeclaredUser(other.email, organizations=(member(acme.slug, Role.OWNER),)),
        name=None,
    )
    done = declaring.make(state, ALL_REMOVALS)
    assert lines(done) == [
        f"- member {gone.email} of {acme.slug}: role admin",
        f"~ member {operator.email} of {acme.slug}: role owner -> member",
    ]


def test_superuser_moves_others_before_oneself(people: People, root: Someone) -> None:
    second = people.known_superuser()
    others = [people.user(plan=Plan.PREMIUM) for _ in range(9)]
    users = (second, *others)
    state = DeclaredState(users=tuple(DeclaredUser(one.email, plan=Plan.FREE) for one in users))
    done = Declaring(people, second).make(state)
    assert done.results[-1].change.user == second.email
    with pytest.raises(Denied) as denied:
        Declaring(people, second).apply(DeclaredState(users=(DeclaredUser(others[0].email, plan=Plan.PLUS),)))
    assert denied.value.hint.endswith(f"`bazar plans assign {second.email} premium`")


def test_permission_without_which_apply_ends_is_not_taken(people: People, root: Someone) -> None:
    declaring = Declaring(people, root)
    kept = SEEDED_PLANS[Plan.PREMIUM] - {Permission.MEMBERS_READ, Permission.FILES_READ}
    state = DeclaredState(plans=(DeclaredPlan(Plan.PREMIUM, kept),))
    for refused in (lambda: declaring.prepare(wanted(state), dry_run=True), lambda: declaring.apply(state)):
        with pytest.raises(Conflict) as raised:
            refused()
        assert raised.value.code == "apply.locks_out"
        assert "`bazar plans revoke premium members:read`" in raised.value.hint
    found = people.sql("SELECT permission FROM bazar.plan_permissions WHERE plan = 'premium'")
    assert {row["permission"] for row in found} == {p.value for p in Permission}
    assert declaring.diff(state).results, "the comparison alone takes nothing"


def test_file_without_what_premium_keeps_has_a_finding(people: People, root: Someone) -> None:
    with pytest.raises(UsageError) as raised:
        Declaring(people, root).diff('plans:\n  - plan: premium\n    permissions: ["users:read"]\n')
    assert raised.value.code == "apply.file_invalid"
    assert "line 3 column 18: plans[0].permissions: Premium always keeps users:update, plans:read" in (
        raised.value.message
    )
    assert KEPT_BY_PREMIUM


def test_consent_says_how_many_users_a_change_of_plans_touches(people: People, root: Someone) -> None:
    ada = people.user(plan=Plan.PLUS)
    (row,) = people.sql("SELECT count(*) AS users FROM bazar.users WHERE plan = 'plus'")
    wished = SEEDED_PLANS[Plan.PLUS] - {Permission.FILES_EXECUTE} | {Permission.AUDIT_READ}
    state = DeclaredState(users=(DeclaredUser(ada.email, plan=Plan.FREE),), plans=(DeclaredPlan(Plan.PLUS, wished),))
    impact = Declaring(people, root).prepare(wanted(state)).impact("bazar apply")
    users = f"{row['users']} user{'' if row['users'] == 1 else 's'} on Plus"
    s = "s" if row["users"] == 1 else ""
    assert impact.text.endswith(
        f"3 changes, 2 of which remove, demote or suspend; 1 user moves to another plan; {users} gain{s} audit:read;"
        f" {users} lose{s} files:execute"
    )
    assert impact.details["users_on_changed_plans"] == {"plus": row["users"]}


def test_hint_of_a_denial_takes_no_other_permission_away(people: People, root: Someone) -> None:
    people.sql("DELETE FROM bazar.plan_permissions WHERE plan = 'premium' AND permission = 'members:read'")
    try:
        with pytest.raises(Denied) as denied:
            Declaring(people, root).diff(DeclaredState())
        # Free and Plus have it, but a superuser who moves there manages nothing any more.
        assert denied.value.hint.endswith("can add it to a plan: `bazar plans grant premium members:read`")
    finally:
        people.seed_plans()


# -- random states ---------------------------------------------------------------------------------------------------

FEW = 12
MANY = 1000
ROLES = st.none() | st.sampled_from(Role)


@dataclass
class Unheeded:
    """The verdicts of the judge, which let every change be made all the same."""

    verdicts: list[str | None]

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Note the verdicts, and let `apply` make all changes."""
        judge = foresee.Judge.results

        def results(this: foresee.Judge, changes: Sequence[Change]) -> tuple[Result, ...]:
            self.verdicts = codes(judge(this, changes))
            this.denials.clear()
            return tuple(map(Result, changes))

        monkeypatch.setattr(foresee.Judge, "results", results)


@dataclass
class Company:
    """Two organizations with members, an operator, and the state that is wanted of them."""

    operator: Someone
    state: DeclaredState


def company_of(draw: Callable[[st.SearchStrategy[Any]], Any], people: People, root: Someone) -> Company:
    """Insert users with any roles and states, and return what is wanted of them."""
    orgs = [people.org(name="Acme") for _ in range(2)]

    def someone(**given: Any) -> Someone:
        roles = {org: role for org in orgs if (role := draw(ROLES)) is not None}
        return people.user(roles, **given)

    users = [someone(plan=draw(st.sampled_from(Plan))) for _ in range(3)]
    for user in users:
        if draw(st.integers(0, 3)) == 0:
            people.sql("UPDATE bazar.users SET state = 'suspended' WHERE id = %s", user.id)
    operator = root
    if draw(st.booleans()):
        operator = someone(plan=Plan.PREMIUM)
        people.identity(operator)
        users.append(operator)
    named = draw(st.permutations(users))

    def memberships(orgs: list[Org]) -> Any:
        return tuple(member(org.slug, draw(ROLES)) for org in orgs if draw(st.booleans()))

    declared = [
        DeclaredUser(
            user.email,
            draw(st.sampled_from(("Ada", None))),
            draw(st.none() | st.sampled_from(Plan)) if operator is root else None,
            memberships(orgs),
            draw(st.none() | st.sampled_from(UserState)),
        )
        for user in named
        if draw(st.integers(0, 3))
    ]
    declared.append(DeclaredUser(an_address("new"), organizations=memberships(orgs)))
    return Company(
        operator, DeclaredState(tuple(DeclaredOrganization(org.slug, "Acme") for org in orgs), tuple(declared))
    )


def until_denied(found: Sequence[str | None]) -> Sequence[str | None]:
    """Return the codes up to the first denial: `apply` makes no change where it foresees one."""
    denials = [place for place, code in enumerate(found) if code and code.startswith("access.")]
    return found[: denials[0] + 1] if denials else found


def assert_equal(happened: Sequence[str | None], verdicts: Sequence[str | None], changes: Sequence[str]) -> None:
    assert list(happened) == list(verdicts), "\n".join(["the changes are", *changes])


def assert_foreseen_is_what_happens(
    people: People, root: Someone, monkeypatch: pytest.MonkeyPatch, examples: int
) -> None:
    unheeded = Unheeded([])
    unheeded.patch(monkeypatch)
    # Few changes are made one after the other, so that also those which exclude each other have one order.
    monkeypatch.setattr("bazar_cli.services.apply.workers.WORKERS", 1)

    @settings(
        deadline=None,
        database=None,
        max_examples=examples,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        made = company_of(data.draw, people, root)
        try:
            done = Declaring(people, made.operator).apply(made.state, ALL_REMOVALS)
        except Denied as denied:  # nothing was written before it
            assert_equal([denied.code], until_denied(unheeded.verdicts)[-1:], ())
        else:
            assert_equal(until_denied(codes(done.results)), until_denied(unheeded.verdicts), lines(done))

    check()


def test_what_is_foreseen_for_random_states_happens(
    people: People, root: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_foreseen_is_what_happens(people, root, monkeypatch, FEW)


@pytest.mark.long
def test_what_is_foreseen_for_many_random_states_happens(
    people: People, root: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_foreseen_is_what_happens(people, root, monkeypatch, MANY)
