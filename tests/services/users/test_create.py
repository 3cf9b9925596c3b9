"""`users create`: one user in Postgres and at Supabase, whatever happens between the two."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import bcrypt
import psycopg
import pytest

from bazar_cli.domain.doctor import FIX
from bazar_cli.domain.entities import Membership, Pending, Plan, Role, UserState
from bazar_cli.domain.errors import BackendUnavailable, BazarError, Conflict, Denied, ExitCode, NotFound, UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.users import changes as use_cases
from bazar_cli.domain.users.changes import CreatedUser, CreateUser, NewPassword
from bazar_cli.services.users import create as user_creation
from bazar_cli.services.users.passwords import bcrypt_hash
from bazar_cli.services.users.resume import resume
from tests.support.auth_proxy import broken_wire
from tests.support.people import OLD_PASSWORD, Org, People, Someone

Emails = Callable[[str], str]
PASSWORD = "correct horse"
PLAIN = NewPassword(plain=Secret(PASSWORD))


def create(people: People, operator: Someone, request: CreateUser, *, dry_run: bool = False) -> CreatedUser:
    return people.run(operator, user_creation.create, use_cases.CREATE, request, dry_run=dry_run)


def conflict_of(people: People, operator: Someone, request: CreateUser) -> Conflict:
    with pytest.raises(Conflict) as conflict:
        create(people, operator, request)
    assert conflict.value.exit_code is ExitCode.CONFLICT
    return conflict.value


def admin_of(people: People, org: Org, role: Role = Role.ADMIN) -> Someone:
    return people.user({org: role}, plan=Plan.PREMIUM)


def stranger_at_supabase(people: People, unique_email: Emails) -> Someone:
    """An identity that is not a user of this Bazar."""
    stranger = Someone(uuid.uuid4(), unique_email("stranger"))
    people.identity(stranger)
    return stranger


def begun(people: People, email: str, *, name: str | None = None) -> Someone:
    """The row that a run left which died before Supabase answered; its lease is over."""
    someone = people.user(email=email, pending=Pending.CREATE, name=name)
    people.sql(
        "UPDATE bazar.users SET lease_owner = gen_random_uuid(), lease_until = now() - interval '1 second'"
        " WHERE id = %s",
        someone.id,
    )
    return someone


def broken_off(
    people: People, operator: Someone, request: CreateUser, *, arrives: bool = True, heals: bool = False
) -> BackendUnavailable:
    """A run whose create at Supabase got no answer, and its error."""
    with (
        broken_wire(people.target, "POST", arrives=arrives, heals=heals) as target,
        People(target) as offline,
        pytest.raises(BackendUnavailable) as unavailable,
    ):
        create(offline, operator, request)
    assert unavailable.value.exit_code is ExitCode.UNAVAILABLE
    return unavailable.value


# -- both systems -------------------------------------------------------------------------------------------


def test_a_user_gets_one_id_in_both_systems_and_signs_in(people: People, unique_email: Emails) -> None:
    org, email = people.org(), unique_email("ada")
    request = CreateUser(email, name="Ada", organization=org.slug, role=Role.ADMIN, plan=Plan.PLUS, password=PLAIN)

    result = create(people, people.superuser(), request)

    [identity] = people.identities(email)
    user = result.user
    row = people.row(Someone(user.id, email))
    assert (result.created, result.password) == (True, None)
    assert (user.email, user.name, user.plan, user.state) == (email, "Ada", Plan.PLUS, UserState.ACTIVE)
    assert (user.pending, user.is_superuser) == (None, False)
    assert user.organizations == (Membership(org.id, org.slug, Role.ADMIN),)
    assert identity["id"] == user.id
    assert row is not None
    assert (row["pending"], row["lease_owner"], row["lease_until"], row["origin"]) == (None, None, None, "created")
    assert people.signs_in(email, PASSWORD)


def test_the_identity_is_confirmed_and_stamped_with_this_deployment(people: People, unique_email: Emails) -> None:
    email = unique_email("ada")

    create(people, people.superuser(), CreateUser(email))

    [identity], [marker] = people.identities(email), people.sql("SELECT id FROM bazar.deployment")
    assert identity["email_confirmed_at"] is not None
    assert identity["app_metadata"]["bazar"] == {"deployment": str(marker["id"]), "origin": "created"}


def test_new_ids_are_ordered_by_time(people: People, unique_email: Emails) -> None:
    ruler = people.superuser()

    ids = [create(people, ruler, CreateUser(unique_email("ada"))).user.id for _ in range(3)]

    assert sorted(ids) == ids
    assert {made.version for made in ids} == {7}


def test_a_user_without_a_password_cannot_sign_in(people: People, unique_email: Emails) -> None:
    email = unique_email("ada")

    create(people, people.superuser(), CreateUser(email))

    assert not people.signs_in(email, PASSWORD)
    assert not people.signs_in(email, "")


def test_a_bcrypt_hash_keeps_the_password_that_it_was_made_of(people: People, unique_email: Emails) -> None:
    email = unique_email("ada")
    made = bcrypt.hashpw(b"from another system", bcrypt.gensalt(4)).decode()

    result = create(people, people.superuser(), CreateUser(email, password=NewPassword(bcrypt_hash=Secret(made))))

    assert result.password is None
    assert people.signs_in(email, "from another system")


def test_a_generated_password_is_shown_once_and_signs_in(people: People, unique_email: Emails) -> None:
    email = unique_email("ada")

    result = create(people, people.superuser(), CreateUser(email, password=NewPassword(generate=True)))

    assert result.password is not None
    assert people.signs_in(email, result.password.reveal())


def test_an_address_is_stored_in_lower_case_in_both_systems(people: People, unique_email: Emails) -> None:
    email = unique_email("ada")

    result = create(people, people.superuser(), CreateUser(email.upper()))

    assert result.user.email == email
    assert len(people.identities(email)) == 1


# -- the record ---------------------------------------------------------------------------------------------


def test_one_event_names_operator_and_user(people: People, unique_email: Emails) -> None:
    org, email, ruler = people.org(), unique_email("ada"), people.superuser()

    user = create(people, ruler, CreateUser(email, name="Ada", organization=org.slug)).user

    [event] = people.events(user.id)
    assert (event["use_case"], event["outcome"], event["target_type"]) == ("users.create", "done", "user")
    assert (event["operator_id"], event["operator_email"]) == (ruler.id, ruler.email)
    assert (event["organization_id"], event["request_id"]) == (org.id, "test-request")
    assert event["before"] is None
    assert event["after"] == {
        "email": email,
        "name": "Ada",
        "plan": "free",
        "organization": org.slug,
        "role": "member",
    }


def test_the_event_is_written_in_the_transaction_of_the_intent(people: People, unique_email: Emails) -> None:
    org = people.org()

    user = create(people, people.superuser(), CreateUser(unique_email("ada"), organization=org.slug)).user

    [written] = people.sql(
        "SELECT e.xmin = m.xmin AS together FROM bazar.audit_events e, bazar.memberships m"
        " WHERE e.target_id = %s AND m.user_id = %s",
        str(user.id),
        user.id,
    )
    assert written["together"] is True


def test_no_secret_reaches_the_record(people: People, unique_email: Emails) -> None:
    ruler, made = people.superuser(), bcrypt.hashpw(b"from another system", bcrypt.gensalt(4)).decode()
    passwords = [PLAIN, NewPassword(bcrypt_hash=Secret(made)), NewPassword(generate=True)]

    results = [create(people, ruler, CreateUser(unique_email("ada"), password=p)) for p in passwords]

    generated = results[2].password
    assert generated is not None
    record = people.everything()["bazar.audit_events"] + people.everything()["bazar.users"]
    for secret in (PASSWORD, made, made.split("$")[3], generated.reveal()):
        assert not [line for line in record if secret in line]


# -- who may ------------------------------------------------------------------------------------------------


def test_an_admin_creates_members_of_their_organization(people: People, unique_email: Emails) -> None:
    org = people.org()

    result = create(people, admin_of(people, org), CreateUser(unique_email("ada"), organization=org.slug))

    assert result.user.organizations == (Membership(org.id, org.slug, Role.MEMBER),)


@pytest.mark.parametrize("role", [Role.ADMIN, Role.OWNER])
def test_an_admin_creates_no_other_admin(people: People, unique_email: Emails, role: Role) -> None:
    org, email = people.org(), unique_email("ada")

    with pytest.raises(Denied) as denied:
        create(people, admin_of(people, org), CreateUser(email, organization=org.slug, role=role))

    assert denied.value.code == "access.role"
    assert people.identities(email) == []


def test_outside_of_organizations_only_superusers_create(people: People, unique_email: Emails) -> None:
    with pytest.raises(Denied) as denied:
        create(people, admin_of(people, people.org(), Role.OWNER), CreateUser(unique_email("ada")))

    assert denied.value.code == "access.platform"


@pytest.mark.parametrize("reach", ["unknown", "foreign"])
def test_an_organization_out_of_reach_is_not_found(people: People, unique_email: Emails, reach: str) -> None:
    email, admin = unique_email("ada"), admin_of(people, people.org())
    slug = people.org().slug if reach == "foreign" else "no-such-org"

    with pytest.raises(NotFound) as missing:
        create(people, admin, CreateUser(email, organization=slug))

    assert (missing.value.code, missing.value.details) == ("orgs.not_found", {"organization": slug})
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", email) == []
    assert people.identities(email) == []


# -- values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (CreateUser("no address"), "users.email_invalid"),
        (CreateUser("ada@example.com", name="a\nb"), "users.name_invalid"),
        (CreateUser("ada@example.com", role=Role.MEMBER), "users.role_without_org"),
        (CreateUser("ada@example.com", password=NewPassword(plain=Secret("short"))), "users.password_invalid"),
        (
            CreateUser("ada@example.com", password=NewPassword(bcrypt_hash=Secret("$2b$"))),
            "users.password_hash_invalid",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_value_that_breaks_a_rule_writes_nothing(people: People, request_: CreateUser, code: str) -> None:
    ruler = people.superuser()
    before = people.everything()

    with pytest.raises(UsageError) as refused:
        create(people, ruler, request_)

    assert refused.value.code == code
    assert people.everything() == before


# -- it exists already --------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title])
def test_an_address_is_taken_once_in_any_case(
    people: People, unique_email: Emails, spelling: Callable[[str], str]
) -> None:
    email, ruler = unique_email("ada"), people.superuser()
    create(people, ruler, CreateUser(email, password=PLAIN))
    before = people.everything()

    conflict = conflict_of(people, ruler, CreateUser(spelling(email)))

    assert conflict.code == "users.email_exists"
    assert people.everything() == before


def test_if_not_exists_takes_the_same_user_and_changes_nothing(people: People, unique_email: Emails) -> None:
    org, email, ruler = people.org(), unique_email("ada"), people.superuser()
    first = CreateUser(email, name="Ada", organization=org.slug, role=Role.ADMIN, plan=Plan.PLUS, password=PLAIN)
    made = create(people, ruler, first)
    before = people.everything()
    other_password = NewPassword(plain=Secret("another password"))

    again = [
        create(people, ruler, replace(first, if_not_exists=True, password=other_password)),
        create(people, ruler, CreateUser(email.upper(), if_not_exists=True)),
        create(people, ruler, CreateUser(email, if_not_exists=True, password=NewPassword(generate=True))),
    ]

    assert [(result.user, result.created, result.password) for result in again] == [(made.user, False, None)] * 3
    assert people.everything() == before
    assert people.signs_in(email, PASSWORD)


@pytest.mark.parametrize(
    ("change", "different"),
    [
        ({"name": "Grace"}, ["name"]),
        ({"name": ""}, ["name"]),
        ({"plan": Plan.PREMIUM}, ["plan"]),
        ({"role": Role.OWNER}, ["role"]),
        ({"name": "Grace", "plan": Plan.FREE, "role": Role.MEMBER}, ["name", "plan", "role"]),
    ],
)
def test_if_not_exists_refuses_a_user_with_other_values(
    people: People, unique_email: Emails, change: dict[str, object], different: list[str]
) -> None:
    org, email, ruler = people.org(), unique_email("ada"), people.superuser()
    first = CreateUser(email, name="Ada", organization=org.slug, role=Role.ADMIN, plan=Plan.PLUS, if_not_exists=True)
    create(people, ruler, first)

    conflict = conflict_of(people, ruler, replace(first, **change))

    assert conflict.code == "users.differs"
    assert conflict.details == {"email": email, "different": different}


def test_if_not_exists_refuses_a_user_of_another_organization(people: People, unique_email: Emails) -> None:
    email, ruler = unique_email("ada"), people.superuser()
    create(people, ruler, CreateUser(email, organization=people.org().slug))

    conflict = conflict_of(people, ruler, CreateUser(email, organization=people.org().slug, if_not_exists=True))

    assert conflict.details["different"] == ["organization"]


def test_if_not_exists_shows_no_user_that_the_operator_cannot_see(people: People, unique_email: Emails) -> None:
    org, email = people.org(), unique_email("ada")
    create(people, people.superuser(), CreateUser(email, organization=people.org().slug))
    request = CreateUser(email, organization=org.slug, if_not_exists=True)

    assert conflict_of(people, admin_of(people, org), request).code == "users.email_exists"


@pytest.mark.parametrize("pending", [Pending.DELETE, Pending.SUSPEND, Pending.EMAIL])
def test_if_not_exists_does_not_call_a_user_in_the_middle_of_a_change_the_same(
    people: People, pending: Pending
) -> None:
    someone = people.user(pending=pending)

    conflict = conflict_of(people, people.superuser(), CreateUser(someone.email, if_not_exists=True))

    assert (conflict.code, conflict.details) == ("users.pending", {"pending": pending.value})


@pytest.mark.parametrize("if_not_exists", [True, False])
def test_an_identity_that_lives_only_at_supabase_belongs_to_someone_else(
    people: People, unique_email: Emails, if_not_exists: bool
) -> None:
    stranger, ruler = stranger_at_supabase(people, unique_email), people.superuser()

    conflict = conflict_of(people, ruler, CreateUser(stranger.email, password=PLAIN, if_not_exists=if_not_exists))

    [identity] = people.identities(stranger.email)
    assert conflict.code == "users.email_at_supabase"
    assert identity["id"] == stranger.id
    assert people.signs_in(stranger.email, OLD_PASSWORD)
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", stranger.email) == []


def test_a_creation_that_was_taken_back_is_in_the_audit_log(people: People, unique_email: Emails) -> None:
    stranger, ruler = stranger_at_supabase(people, unique_email), people.superuser()

    conflict = conflict_of(people, ruler, CreateUser(stranger.email))

    events = people.sql("SELECT * FROM bazar.audit_events WHERE operator_id = %s ORDER BY seq", ruler.id)
    assert [event["outcome"] for event in events] == ["done", "undone"]
    assert events[0]["target_id"] == events[1]["target_id"]
    assert events[1]["reason"] == conflict.message


def test_a_refused_key_leaves_no_row(people: People, unique_email: Emails) -> None:
    email, ruler = unique_email("ada"), people.superuser()
    with People(replace(people.target, supabase_key=Secret("sb_secret_wrong"))) as elsewhere:
        conflict = conflict_of(elsewhere, ruler, CreateUser(email))

    assert conflict.code == "supabase.key_refused"
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", email) == []


# -- dry run ------------------------------------------------------------------------------------------------


def test_a_dry_run_shows_the_user_and_writes_nothing(people: People, unique_email: Emails) -> None:
    org, email, ruler = people.org(), unique_email("ada"), people.superuser()
    request = CreateUser(email, name="Ada", organization=org.slug, role=Role.OWNER, password=NewPassword(generate=True))
    before = people.everything()

    planned = create(people, ruler, request, dry_run=True)

    assert (planned.created, planned.planned, planned.password, planned.user.email) == (True, True, None, email)
    assert planned.id_is_provisional
    assert planned.user.organizations == (Membership(org.id, org.slug, Role.OWNER),)
    assert people.everything() == before


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("who", ["superuser", "admin", "admin elsewhere"])
def test_error_of_an_address_at_supabase_names_a_user_that_the_operator_sees(
    people: People, unique_email: Emails, who: str, dry_run: bool
) -> None:
    org, other, email = people.org(), people.org(), unique_email("drifted")
    someone = people.user({org: Role.MEMBER})
    people.identity(Someone(someone.id, email))
    operator = {"superuser": people.superuser(), "admin": admin_of(people, org), "admin elsewhere": None}[who]
    where = other if operator is None else org

    request = CreateUser(email, organization=where.slug)

    with pytest.raises(Conflict) as raised:
        create(people, operator or admin_of(people, other), request, dry_run=dry_run)

    error, command = raised.value, f"`bazar users update {someone.email} --email {someone.email}`"
    assert (error.code, email in error.message) == ("users.email_at_supabase", True)
    if operator is None:
        assert someone.email not in f"{error.message} {error.hint} {error.details}"
        assert str(someone.id) not in str(error.details)
    else:
        assert someone.email in error.message
        assert command in error.hint
        assert ("a superuser" in error.hint) == (who == "admin")
    undone = people.sql("SELECT reason FROM bazar.audit_events WHERE before ->> 'email' = %s", email)
    assert len(undone) == (0 if dry_run else 1)
    assert all(someone.email not in event["reason"] for event in undone)
    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", email) == []


@pytest.mark.parametrize(
    ("where", "code"), [("postgres", "users.email_exists"), ("supabase", "users.email_at_supabase")]
)
def test_a_dry_run_finds_the_same_conflicts(people: People, unique_email: Emails, where: str, code: str) -> None:
    ruler = people.superuser()
    someone = people.user() if where == "postgres" else stranger_at_supabase(people, unique_email)
    before = people.everything()

    with pytest.raises(Conflict) as conflict:
        create(people, ruler, CreateUser(someone.email), dry_run=True)

    assert conflict.value.code == code
    assert people.everything() == before


# -- again, after an outcome that nobody saw ----------------------------------------------------------------


def test_running_again_after_an_unseen_success_finishes_with_one_id_and_one_event(
    people: People, unique_email: Emails
) -> None:
    org, email, ruler = people.org(), unique_email("ada"), people.superuser()
    request = CreateUser(email, name="Ada", organization=org.slug, role=Role.ADMIN, password=PLAIN)
    broken_off(people, ruler, request)
    [begun_row] = people.sql("SELECT * FROM bazar.users WHERE email = %s", email)

    planned = create(people, ruler, request, dry_run=True)
    result = create(people, ruler, request)

    assert (planned.user.id, planned.user.pending, planned.id_is_provisional) == (begun_row["id"], None, False)
    [identity] = people.identities(email)
    assert (begun_row["pending"], begun_row["lease_owner"]) == ("create", None)
    assert result.user.id == begun_row["id"] == identity["id"]
    assert (result.created, result.user.pending) == (True, None)
    assert [event["outcome"] for event in people.events(result.user.id)] == ["done"]
    assert people.signs_in(email, PASSWORD)


@pytest.mark.parametrize("arrives", [False, True])
def test_the_doctor_says_where_it_made_an_identity_without_a_password(
    people: People, unique_email: Emails, arrives: bool
) -> None:
    email, ruler = unique_email("ada"), people.superuser()
    broken_off(people, ruler, CreateUser(email, password=PLAIN), arrives=arrives)
    [row] = people.sql("SELECT id FROM bazar.users WHERE email = %s", email)

    notes = [people.run(ruler, resume, FIX, row["id"], dry_run=dry_run) for dry_run in (True, False)]

    assert [bool(note) for note in notes] == [not arrives, not arrives]
    assert (people.row(Someone(row["id"], email)) or {})["pending"] is None


def test_hint_of_an_unknown_outcome_is_to_run_again(people: People, unique_email: Emails) -> None:
    email = unique_email("ada")
    error = broken_off(people, people.superuser(), CreateUser(email))

    assert error.code == "users.create_unfinished"
    assert f"did not say whether it created {email}" in error.message
    assert "run the same command again" in error.hint


def test_a_lost_answer_is_looked_up_and_the_same_run_finishes(people: People, unique_email: Emails) -> None:
    email, ruler = unique_email("ada"), people.superuser()

    with broken_wire(people.target, "POST", arrives=True, heals=True) as broken, People(broken) as flaky:
        result = create(flaky, ruler, CreateUser(email, password=NewPassword(generate=True)))

    assert (result.created, result.user.pending) == (True, None)
    assert result.password is not None
    assert people.signs_in(email, result.password.reveal())


def test_a_request_that_never_arrived_is_sent_by_the_next_run(people: People, unique_email: Emails) -> None:
    email, ruler = unique_email("ada"), people.superuser()
    error = broken_off(people, ruler, CreateUser(email, password=PLAIN), arrives=False, heals=True)
    [begun_row] = people.sql("SELECT * FROM bazar.users WHERE email = %s", email)

    result = create(people, ruler, CreateUser(email, password=PLAIN))

    assert error.code == "users.create_unfinished"
    assert error.details == {"user_id": str(begun_row["id"]), "email": email}
    assert result.user.id == begun_row["id"]
    assert len(people.events(result.user.id)) == 1
    assert people.signs_in(email, PASSWORD)


def test_running_again_sets_another_password_before_the_first_sign_in(people: People, unique_email: Emails) -> None:
    email, ruler = unique_email("ada"), people.superuser()
    broken_off(people, ruler, CreateUser(email, password=PLAIN))

    create(people, ruler, CreateUser(email, password=NewPassword(plain=Secret("another password"))))

    assert people.signs_in(email, "another password")


def test_running_again_leaves_the_password_after_a_sign_in(people: People, unique_email: Emails) -> None:
    email, ruler = unique_email("ada"), people.superuser()
    broken_off(people, ruler, CreateUser(email, password=PLAIN))
    assert people.signs_in(email, PASSWORD)

    result = create(people, ruler, CreateUser(email, password=NewPassword(generate=True)))

    assert (result.created, result.password) == (True, None)
    assert people.signs_in(email, PASSWORD)


def test_a_run_that_died_is_taken_over_once_its_lease_is_over(people: People, unique_email: Emails) -> None:
    left = begun(people, unique_email("ada"))

    result = create(people, people.superuser(), CreateUser(left.email, password=PLAIN))

    assert (result.user.id, result.created, result.user.pending) == (left.id, True, None)
    assert people.signs_in(left.email, PASSWORD)


def test_an_unfinished_user_is_finished_with_the_same_values_only(people: People, unique_email: Emails) -> None:
    left = begun(people, unique_email("ada"), name="Ada")

    conflict = conflict_of(people, people.superuser(), CreateUser(left.email, name="Grace"))

    row = people.row(left)
    assert (conflict.code, conflict.details["different"]) == ("users.differs", ["name"])
    assert row is not None
    assert row["pending"] == "create"


def test_operators_who_may_create_a_user_may_finish_the_creation(people: People, unique_email: Emails) -> None:
    org, left = people.org(), begun(people, unique_email("ada"))

    conflict = conflict_of(people, admin_of(people, org), CreateUser(left.email, organization=org.slug))

    # Out of the admin's reach: all that may be told is that the address is taken.
    assert conflict.code == "users.email_exists"
    assert people.identities(left.email) == []


def test_an_identity_of_another_deployment_with_our_id_is_not_taken_over(people: People, unique_email: Emails) -> None:
    left = begun(people, unique_email("ada"))
    people.identity(left, app_metadata={"bazar": {"deployment": str(left.id), "origin": "created"}})

    conflict = conflict_of(people, people.superuser(), CreateUser(left.email, password=PLAIN))

    assert conflict.code == "users.id_taken"
    assert people.row(left) is None
    assert [event["outcome"] for event in people.events(left.id)] == ["undone"]
    assert people.signs_in(left.email, OLD_PASSWORD)


def test_an_address_that_a_stranger_took_meanwhile_ends_an_unfinished_user(
    people: People, unique_email: Emails
) -> None:
    left = begun(people, unique_email("ada"))
    people.identity(Someone(uuid.uuid4(), left.email))

    conflict = conflict_of(people, people.superuser(), CreateUser(left.email, password=PLAIN))

    assert conflict.code == "users.email_at_supabase"
    assert people.row(left) is None
    assert people.signs_in(left.email, OLD_PASSWORD)


# -- at the same time ---------------------------------------------------------------------------------------


def together(people: People, operator: Someone, request: CreateUser, times: int) -> list[CreatedUser | BazarError]:
    def run(_number: int) -> CreatedUser | BazarError:
        try:
            return create(people, operator, request)
        except BazarError as error:
            return error

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(run, range(times)))


def test_of_many_that_create_one_address_one_wins(people: People, unique_email: Emails) -> None:
    email = unique_email("ada")

    results = together(people, people.superuser(), CreateUser(email), 4)

    made = [result for result in results if isinstance(result, CreatedUser)]
    assert len(made) == 1
    assert {r.code for r in results if isinstance(r, BazarError)} == {"users.email_exists"}
    assert [identity["id"] for identity in people.identities(email)] == [made[0].user.id]
    assert len(people.events(made[0].user.id)) == 1


def test_of_many_that_create_one_address_unless_it_exists_all_are_content(people: People, unique_email: Emails) -> None:
    email = unique_email("ada")

    results = together(people, people.superuser(), CreateUser(email, if_not_exists=True), 4)

    assert sorted(r.created for r in results if isinstance(r, CreatedUser)) == [False, False, False, True]
    assert len({r.user.id for r in results if isinstance(r, CreatedUser)}) == 1
    assert len(people.identities(email)) == 1


def test_loser_of_a_race_for_an_address_finds_the_user_of_the_winner(people: People, unique_email: Emails) -> None:
    email, ruler = unique_email("ada"), people.superuser()
    request = CreateUser(email, if_not_exists=True)
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(people.target.database_url.reveal()) as winner, ThreadPoolExecutor(1) as pool:
        winner.execute("INSERT INTO bazar.users (id, email) VALUES (gen_random_uuid(), %s)", (email,))
        running = pool.submit(create, people, ruler, request)
        while not running.done() and not people.sql(waiting):
            continue
        winner.commit()
        result = running.result()

    assert result.created is False
    assert [row["id"] for row in people.sql("SELECT id FROM bazar.users WHERE email = %s", email)] == [result.user.id]
    assert people.identities(email) == []


# -- identities with our id -----------------------------------------------------------------------------------


def stamp(people: People) -> dict[str, object]:
    [marker] = people.sql("SELECT id FROM bazar.deployment")
    return {"bazar": {"deployment": str(marker["id"]), "origin": "created"}}


def test_an_identity_of_ours_whose_address_changed_keeps_its_row(people: People, unique_email: Emails) -> None:
    ruler, email = people.superuser(), unique_email("ada")
    someone = begun(people, email)
    moved = Someone(someone.id, unique_email("moved"))
    people.identity(moved, app_metadata=stamp(people))

    conflict = conflict_of(people, ruler, CreateUser(email, password=PLAIN))

    assert (conflict.code, conflict.details["supabase_email"]) == ("users.email_differs", moved.email)
    assert f"`bazar users delete {email} --confirm {email}`" in conflict.hint
    assert (people.row(someone) or {})["pending"] == "create"
    assert len(people.identities(moved.email)) == 1
    assert not people.signs_in(moved.email, PASSWORD)


def test_a_soft_deleted_identity_gives_its_id_up(people: People, unique_email: Emails) -> None:
    ruler, email = people.superuser(), unique_email("ada")
    someone = begun(people, email)
    people.identity(Someone(someone.id, email), app_metadata=stamp(people))
    people.sql("UPDATE auth.users SET deleted_at = now(), email = 'hashed-' || id WHERE id = %s", someone.id)

    assert conflict_of(people, ruler, CreateUser(email)).code == "users.id_taken"

    assert people.row(someone) is None
    assert create(people, ruler, CreateUser(email)).user.id != someone.id


def test_an_id_that_is_taken_at_the_first_try_is_given_up(
    people: People, unique_email: Emails, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answers 500 to a taken id: the id is looked up, and found to be a stranger's."""
    ruler, email, stranger = people.superuser(), unique_email("ada"), Someone(uuid.uuid4(), unique_email("taker"))
    people.identity(stranger)
    monkeypatch.setattr(user_creation, "time_ordered_uuid", lambda: stranger.id)

    assert conflict_of(people, ruler, CreateUser(email, password=PLAIN)).code == "users.id_taken"

    assert people.sql("SELECT 1 FROM bazar.users WHERE email = %s", email) == []
    assert [i["email"] for i in people.identities(stranger.email)] == [stranger.email]
    assert not people.signs_in(stranger.email, PASSWORD)


def test_the_hash_of_a_password_is_one_that_supabase_knows() -> None:
    found = bcrypt_hash(PLAIN.plain or Secret("")).reveal()
    assert found.startswith("$2a$")
    assert bcrypt.checkpw(PASSWORD.encode(), found.encode())
