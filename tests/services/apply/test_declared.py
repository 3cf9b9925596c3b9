"""`diff` and `apply`: the differences of both systems to a declared state, and the changes that lead to it."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bazar_cli.domain.authz.permissions import SEEDED_PLANS, Permission
from bazar_cli.domain.declared.changes import Outcome, Removals
from bazar_cli.domain.declared.state import (
    ABSENT,
    DeclaredMembership,
    DeclaredOrganization,
    DeclaredPlan,
    DeclaredState,
    DeclaredUser,
    as_document,
)
from bazar_cli.domain.entities import Pending, Plan, Role, UserState
from bazar_cli.domain.errors import BackendUnavailable, Denied, Refused, UsageError
from bazar_cli.services.apply.declared import Prepared
from bazar_cli.services.apply.state_file import read_state
from tests.support.auth_proxy import Fault, auth_proxy
from tests.support.declared import ALL_REMOVALS, Declaring, company, lines, member, members_of, wanted
from tests.support.people import RUN, People, Someone, an_address

DONE, FAILED, UNCHANGED = Outcome.DONE, Outcome.FAILED, Outcome.UNCHANGED
ACTIVE, SUSPENDED = UserState.ACTIVE, UserState.SUSPENDED


@pytest.fixture
def declaring(people: People, root: Someone) -> Declaring:
    return Declaring(people, root)


@pytest.fixture
def slug() -> str:
    return f"org-{RUN}-{secrets.token_hex(5)}"


def events_of(people: People, act: Callable[[], object]) -> list[str]:
    """Return the use cases of the events of a run."""
    (last,) = people.sql("SELECT coalesce(max(seq), 0) AS seq FROM bazar.audit_events")
    act()
    rows = people.sql("SELECT use_case FROM bazar.audit_events WHERE seq > %s ORDER BY seq", last["seq"])
    return [row["use_case"] for row in rows]


def test_new_state_is_made_with_one_event_a_change(declaring: Declaring, people: People, slug: str) -> None:
    ada, bob = an_address("ada"), an_address("bob")
    state = company(
        slug,
        DeclaredUser(bob, None, Plan.PLUS, (member(slug, Role.ADMIN),), SUSPENDED),
        DeclaredUser(ada, "Ada", organizations=(member(slug, Role.OWNER),)),
    )
    shown = declaring.diff(state)
    assert lines(shown) == [
        f"+ user {ada}: name Ada, plan free",
        f"+ organization {slug}: name Acme, owner {ada}",
        f"+ user {bob}: plan plus, organization {slug}, role admin",
        f"~ user {bob}: state active -> suspended",
    ]
    assert events_of(people, lambda: declaring.make(state)) == [
        *("users.create", "orgs.create", "users.create", "users.suspend")
    ]
    declaring.assert_is(state)
    assert declaring.diff(state).results == ()
    before = people.everything()
    assert declaring.apply(state).results == ()
    assert people.everything() == before


def test_only_what_the_file_names_is_changed(declaring: Declaring, people: People, slug: str) -> None:
    ada, bob = an_address("ada"), an_address("bob")
    declaring.make(
        company(
            slug,
            DeclaredUser(ada, "Ada", Plan.PREMIUM, (member(slug, Role.OWNER),)),
            DeclaredUser(bob, "Bob", Plan.PLUS, (member(slug, Role.ADMIN),), SUSPENDED),
        )
    )
    unnamed = DeclaredState((DeclaredOrganization(slug),), (DeclaredUser(ada), DeclaredUser(bob)))
    found = declaring.diff(unnamed)
    assert (found.results, found.not_in_file) == ((), ())
    some = DeclaredState((DeclaredOrganization(slug, "Beta"),), (DeclaredUser(bob, None), DeclaredUser(ada, "Eve")))
    assert sorted(lines(declaring.make(some))) == [
        f"~ organization {slug}: name Acme -> Beta",
        f"~ user {ada}: name Ada -> Eve",
        f"~ user {bob}: name Bob -> none",
    ]
    assert members_of(people, slug=slug) == {(slug, ada): "owner", (slug, bob): "admin"}
    assert people.sql("SELECT plan, state FROM bazar.users WHERE email = %s", bob) == [
        {"plan": "plus", "state": "suspended"}
    ]


def test_owners_change_hands_in_an_order_that_keeps_one(declaring: Declaring, people: People, slug: str) -> None:
    ada, bob = an_address("ada"), an_address("bob")
    declaring.make(
        company(
            slug,
            DeclaredUser(ada, organizations=(member(slug, Role.OWNER),)),
            DeclaredUser(bob, organizations=(member(slug, Role.MEMBER),), state=SUSPENDED),
        )
    )
    after = company(
        slug,
        DeclaredUser(ada, organizations=(member(slug, Role.MEMBER),), state=SUSPENDED),
        DeclaredUser(bob, organizations=(member(slug, Role.OWNER),), state=ACTIVE),
    )
    assert lines(declaring.make(after)) == [
        f"~ user {bob}: state suspended -> active",
        f"~ member {bob} of {slug}: role member -> owner",
        f"~ member {ada} of {slug}: role owner -> member",
        f"~ user {ada}: state active -> suspended",
    ]
    declaring.assert_is(after)


def test_members_who_are_not_in_the_file_are_shown_and_removed_only_with_prune(
    declaring: Declaring, people: People, slug: str
) -> None:
    ada, bob, eve = (an_address(name) for name in ("ada", "bob", "eve"))
    both = (member(slug, Role.MEMBER),)
    declaring.make(
        company(
            slug,
            DeclaredUser(ada, organizations=(member(slug, Role.OWNER),)),
            DeclaredUser(bob, organizations=both),
            DeclaredUser(eve, organizations=both),
        )
    )
    fewer = company(slug, DeclaredUser(ada, organizations=(member(slug),)), DeclaredUser(eve, "Eve"))
    found = declaring.diff(fewer)
    assert [(m.organization, m.user, m.role) for m in found.not_in_file] == [
        (slug, bob, Role.MEMBER),
        (slug, eve, Role.MEMBER),
    ]
    assert lines(found) == [f"~ user {eve}: name none -> Eve"]
    declaring.make(fewer)
    assert len(members_of(people, slug=slug)) == 3
    with pytest.raises(Refused) as raised:
        declaring.apply(fewer, Removals(prune=True, limit="1"))
    assert raised.value.code == "apply.too_many_removals"
    assert raised.value.lines[1:] == (
        f"  - member {bob} of {slug}: role member",
        f"  - member {eve} of {slug}: role member",
    )
    done = declaring.make(fewer, Removals(prune=True, limit="2"))
    assert len(done.results) == 2
    assert members_of(people, slug=slug) == {(slug, ada): "owner"}
    assert declaring.diff(fewer, ALL_REMOVALS).results == ()


def test_demotions_and_suspensions_count_as_removals(declaring: Declaring, slug: str) -> None:
    ada, bob = an_address("ada"), an_address("bob")
    high = (member(slug, Role.OWNER),)
    declaring.make(company(slug, *(DeclaredUser(e, None, Plan.PLUS, high, ACTIVE) for e in (ada, bob))))
    lower = company(
        slug,
        DeclaredUser(ada, None, Plan.PREMIUM, high, ACTIVE),
        DeclaredUser(bob, None, Plan.FREE, (member(slug, Role.MEMBER),), SUSPENDED),
    )
    taken = [result.change for result in declaring.diff(lower).results if result.change.takes_away]
    assert {change.use_case for change in taken} == {"plans.assign", "orgs.members.update", "users.suspend"}
    for limit, is_refused in (("2", True), ("3", False)):
        if is_refused:
            with pytest.raises(Refused):
                declaring.diff(lower, Removals(limit=limit))
        else:
            assert len(declaring.diff(lower, Removals(limit=limit)).results) == 4


def test_plans_get_exactly_the_permissions_of_the_file(declaring: Declaring, people: People) -> None:
    try:
        wished = SEEDED_PLANS[Plan.PLUS] - {Permission.FILES_EXECUTE} | {Permission.AUDIT_READ}
        state = DeclaredState(plans=(DeclaredPlan(Plan.PLUS, wished), DeclaredPlan(Plan.FREE)))
        done = declaring.make(state)
        assert [(result.change.line, result.change.takes_away) for result in done.results] == [
            ("+ plan plus: permission audit:read", False),
            ("- plan plus: permission files:execute", True),
        ]
        rows = people.sql("SELECT permission FROM bazar.plan_permissions WHERE plan = 'plus'")
        assert {row["permission"] for row in rows} == {p.value for p in wished}
        # A permission of a newer release is not this file's.
        people.sql("INSERT INTO bazar.plan_permissions VALUES ('plus', 'invoices:read')")
        assert declaring.diff(state).results == ()
    finally:
        people.seed_plans()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("organizations: [{slug: SLUG}]", "line 1 column 17: organization SLUG: it does not exist, and a new one"),
        (
            "organizations: [{slug: SLUG, name: A,\n members: [{email: nobody@example.com}]}]",
            "line 2 column 20: member nobody@example.com: there is no such user; name the user under users",
        ),
    ],
)
def test_file_that_needs_what_is_not_there_has_a_finding(declaring: Declaring, slug: str, text: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        declaring.diff(text.replace("SLUG", slug))
    assert raised.value.code == "apply.file_invalid"
    assert said.replace("SLUG", slug).replace("a new one", "a new organization") in raised.value.message


# -- operators who may not do everything ----------------------------------------------------------------------------


def test_admin_applies_the_state_of_their_organization(people: People) -> None:
    acme, other = people.org(name="Acme"), people.org()
    owner = people.known_user({acme: Role.OWNER}, plan=Plan.PREMIUM)
    ada = people.known_user({acme: Role.MEMBER})
    stranger = people.known_user({other: Role.MEMBER}, name="Stranger")
    new = an_address("new")
    declaring = Declaring(people, owner)
    state = DeclaredState(
        (DeclaredOrganization(acme.slug, "Acme Inc"),),
        (
            DeclaredUser(ada.email, "Ada", organizations=(member(acme.slug, Role.ADMIN),)),
            DeclaredUser(new, organizations=(member(acme.slug),)),
        ),
    )
    assert len(declaring.make(state).results) == 4
    assert declaring.diff(state).results == ()
    # A user out of reach reads as missing, and is not changed.
    before = people.row(stranger)
    hidden = DeclaredState(state.organizations, (DeclaredUser(stranger.email, "X", None, (member(acme.slug),)),))
    done = declaring.apply(hidden)
    assert [(r.outcome, r.code) for r in done.results] == [(FAILED, "users.email_exists")]
    assert people.row(stranger) == before


def test_organization_of_others_is_not_taken_over(people: People) -> None:
    hidden = people.org(name="Theirs")
    declaring = Declaring(people, people.known_user({people.org(): Role.OWNER}, plan=Plan.PREMIUM))
    done = declaring.apply(DeclaredState((DeclaredOrganization(hidden.slug, "Mine"),)))
    assert [(r.outcome, r.code) for r in done.results] == [(FAILED, "orgs.slug_exists")]


def test_change_that_the_plan_forbids_is_denied_before_the_first_write(people: People, slug: str) -> None:
    acme = people.org()
    declaring = Declaring(people, people.known_user({acme: Role.OWNER}, plan=Plan.PREMIUM))
    ada = people.known_user({acme: Role.MEMBER})
    state = DeclaredState(users=(DeclaredUser(ada.email, "Ada", Plan.PLUS),))
    before = people.row(ada)
    assert len(declaring.diff(state).results) == 2

    def denied() -> None:
        with pytest.raises(Denied) as raised:
            declaring.apply(state)
        assert raised.value.code == "access.platform"

    assert events_of(people, denied) == ["plans.assign"]
    assert people.row(ada) == before
    with pytest.raises(Denied):
        declaring.prepare(wanted(state), dry_run=True)


# -- what happens meanwhile -----------------------------------------------------------------------------------------


def test_failure_of_a_user_fails_what_needs_the_user_and_nothing_else(
    declaring: Declaring, people: People, slug: str
) -> None:
    ada, bob = an_address("ada"), an_address("bob")
    other = people.org()
    state = DeclaredState(
        (DeclaredOrganization(slug, "Acme"), DeclaredOrganization(other.slug)),
        (
            DeclaredUser(ada, organizations=(member(slug, Role.OWNER), member(other.slug))),
            DeclaredUser(bob, organizations=(member(slug),), state=SUSPENDED),
        ),
    )

    def take_address(_prepared: Prepared) -> None:
        people.identity(Someone(uuid.uuid4(), bob))

    done = declaring.apply(state, between=take_address)
    assert [(r.change.use_case, r.outcome, r.code) for r in done.results] == [
        ("users.create", DONE, None),
        ("orgs.create", DONE, None),
        ("users.create", FAILED, "users.email_at_supabase"),
        ("users.suspend", FAILED, "apply.depends"),
    ]
    assert done.has_failed
    assert members_of(people, user=ada) == {(slug, ada): "owner", (other.slug, ada): "member"}


def test_organization_without_its_owner_belongs_to_the_operator(
    declaring: Declaring, people: People, root: Someone, slug: str
) -> None:
    ada = an_address("ada")
    state = company(slug, DeclaredUser(ada, organizations=(member(slug, Role.OWNER),)))
    done = declaring.apply(state, between=lambda _prepared: people.identity(Someone(uuid.uuid4(), ada)))
    assert [r.outcome for r in done.results] == [FAILED, DONE]
    assert members_of(people, slug=slug) == {(slug, root.email): "owner"}


def test_what_another_command_made_meanwhile_is_unchanged(declaring: Declaring, people: People, slug: str) -> None:
    ada, bob = an_address("ada"), an_address("bob")
    state = company(
        slug,
        DeclaredUser(ada, organizations=(member(slug, Role.OWNER),)),
        DeclaredUser(bob, organizations=(member(slug, Role.MEMBER),)),
    )
    done = declaring.apply(state, between=lambda _prepared: declaring.make(state))
    assert [r.outcome for r in done.results] == [UNCHANGED] * 3
    assert not done.changed
    declaring.assert_is(state)


@pytest.mark.parametrize("again", ["same", "other"], ids=["the same file", "a file with other values"])
def test_run_that_supabase_interrupted_is_finished_by_the_next(
    declaring: Declaring, people: People, slug: str, again: str
) -> None:
    ada, bob = an_address("ada"), an_address("bob")
    state = company(
        slug,
        DeclaredUser(ada, "Ada", Plan.PLUS, (member(slug, Role.OWNER),)),
        DeclaredUser(bob, "Bob", organizations=(member(slug, Role.ADMIN),), state=SUSPENDED),
    )
    for method, path in (("POST", "/admin/users"), ("PUT", "/admin/users/.*")):
        with auth_proxy(people.target) as proxy, People(proxy.target) as there:
            proxy.add(Fault(method, path, status=503, lasting=True))
            with pytest.raises(BackendUnavailable):
                Declaring(there, declaring.operator).apply(state)
    pending = people.sql("SELECT pending FROM bazar.users WHERE email = ANY(%s) AND pending IS NOT NULL", [ada, bob])
    assert [row["pending"] for row in pending] == ["suspend"]
    if again == "other":
        state = company(
            slug,
            DeclaredUser(ada, "Eve", Plan.FREE, (member(slug, Role.OWNER),)),
            DeclaredUser(bob, None, organizations=(member(slug, Role.MEMBER),), state=ACTIVE),
        )
    else:
        assert lines(declaring.diff(state)) == [f"~ user {bob}: pending suspend -> none"]
    declaring.make(state)
    declaring.assert_is(state)
    assert declaring.diff(state).results == ()


def test_unfinished_creation_is_finished_and_then_changed(declaring: Declaring, people: People, slug: str) -> None:
    ada = an_address("ada")
    acme = people.org()
    with auth_proxy(people.target) as proxy, People(proxy.target) as there:
        proxy.add(Fault("POST", "/admin/users", status=503, lasting=True))
        with pytest.raises(BackendUnavailable):
            Declaring(there, declaring.operator).apply(
                DeclaredState(
                    (DeclaredOrganization(acme.slug),), (DeclaredUser(ada, "Ada", Plan.PLUS, (member(acme.slug),)),)
                )
            )
    assert people.sql("SELECT pending FROM bazar.users WHERE email = %s", ada) == [{"pending": Pending.CREATE}]
    state = DeclaredState(
        (DeclaredOrganization(acme.slug), DeclaredOrganization(slug, "New")),
        (DeclaredUser(ada, "Eve", Plan.FREE, (member(acme.slug, Role.ADMIN), member(slug, Role.ADMIN)), SUSPENDED),),
    )
    assert f"~ user {ada}: pending create -> none" in lines(declaring.make(state))
    declaring.assert_is(state)


# -- random states --------------------------------------------------------------------------------------------------

MANY = 1000
FEW = 6
NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=20)
RANDOM = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def is_visible(name: str) -> bool:
    return bool(name.strip())


@st.composite
def random_states(draw: st.DrawFn, prefix: str) -> DeclaredState:
    """A state in which each organization has an active owner; the same users and organizations occur again."""
    slugs = [f"{prefix}-{n}" for n in range(3)]
    emails = [f"{prefix}.{n}@example.com" for n in range(5)]
    members: dict[str, list[DeclaredMembership]] = {email: [] for email in emails}
    owners: set[str] = set()
    for slug in slugs:
        named = draw(st.lists(st.sampled_from(emails), unique=True, min_size=1))
        owners.add(named[0])
        for place, email in enumerate(named):
            role = draw(st.none() | st.sampled_from((Role.ADMIN, Role.MEMBER))) if place else Role.OWNER
            members[email].append(DeclaredMembership(slug, role))
    users = tuple(
        DeclaredUser(
            email,
            draw(st.sampled_from((ABSENT, None)) | NAMES.filter(is_visible)),
            draw(st.none() | st.sampled_from(Plan)),
            tuple(members[email]),
            ACTIVE if email in owners else draw(st.none() | st.sampled_from(UserState)),
        )
        for email in emails
        if members[email] or draw(st.booleans())
    )
    organizations = tuple(DeclaredOrganization(slug, draw(NAMES.filter(is_visible))) for slug in slugs)
    return DeclaredState(organizations, users)


def assert_each_is_reached(declaring: Declaring, examples: int) -> None:
    prefix = f"r{secrets.token_hex(6)}"

    @settings(RANDOM, max_examples=examples)
    @given(random_states(prefix))
    def check(state: DeclaredState) -> None:
        text = json.dumps(as_document(state))
        declaring.make(text, ALL_REMOVALS)
        found = declaring.diff(text, ALL_REMOVALS)
        assert (found.results, found.not_in_file) == ((), ())
        declaring.assert_is(read_state(text, "a file"))

    check()


def test_diff_after_apply_is_empty_for_random_states(declaring: Declaring) -> None:
    assert_each_is_reached(declaring, FEW)


@pytest.mark.long
def test_diff_after_apply_is_empty_for_many_random_states(declaring: Declaring) -> None:
    assert_each_is_reached(declaring, MANY)
