"""A server process: who a bearer token is, what it costs at Auth, and how long requests wait for each other."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import jwt
import psycopg
import pytest

from bazar_cli.adapters.postgres.database import Database
from bazar_cli.adapters.postgres.gate import load_operator
from bazar_cli.adapters.postgres.pool import Pool
from bazar_cli.adapters.supabase.bearer_tokens import BearerTokens, RefusedAddresses
from bazar_cli.adapters.supabase.http import auth_url, open_http
from bazar_cli.adapters.supabase.jwks import KeptKeySet
from bazar_cli.adapters.supabase.sign_in_limits import SignInLimits
from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.authz.spec import Grant, Spec
from bazar_cli.domain.db.migrations import MIGRATE, Migrate
from bazar_cli.domain.errors import BackendUnavailable, Conflict, Denied, NotSignedIn
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import IdentitySource, Target
from bazar_cli.domain.users.changes import SUSPEND, UPDATE, SuspendUser, UpdateUser
from bazar_cli.domain.users.users import GET, ME, GetUser
from bazar_cli.domain.waits import Waits
from bazar_cli.services.gate.backends import Backends
from bazar_cli.services.gate.service import Service
from bazar_cli.services.users import update
from tests.support.people import OLD_PASSWORD, People, Someone
from tests.support.tokens import JWKS, USER, Signer, Wire, claims_of, unsigned, wire_to

ADDRESS = "192.0.2.1"


@pytest.fixture
def wire(target: Target) -> Generator[Wire]:
    with wire_to(target) as lent:
        yield lent


@pytest.fixture
def issuer(target: Target) -> str:
    return auth_url(target)


@pytest.fixture
def signer(auth_keys: AuthKeys) -> Signer:
    return Signer.of(auth_keys)


@pytest.fixture
def member(people: People) -> Someone:
    return people.known_user()


@pytest.fixture
def service(wire: Wire, issuer: str) -> Generator[Service]:
    """A server whose target has SUPERUSER_*, and waits of a moment."""
    target = replace(wire.target, superuser_email="root@example.com", superuser_password=Secret(OLD_PASSWORD))
    made = Service(target, issuer=issuer, waits=Waits(lease=0.2, row=0.2))
    yield made
    made.close()


@pytest.fixture
def tokens(wire: Wire, issuer: str) -> Generator[BearerTokens]:
    with open_http(wire.target) as http:
        yield BearerTokens(wire.target, issuer, http)


def ask(service: Service, token: Secret | None, spec: Spec = ME, request: object = None) -> Grant:
    """Return the Grant of one request."""
    with service.gate(token, "a-request", ADDRESS) as gate:
        return gate.authorize(spec, request)


def refusal(act: Callable[[], object]) -> NotSignedIn:
    with pytest.raises(NotSignedIn) as refused:
        act()
    return refused.value


def by_secret(claims: dict[str, object]) -> Secret:
    """Return a token that only Auth could verify."""
    return Secret(jwt.encode(claims, "a secret that is long enough for HS256", algorithm="HS256"))


# -- who asks ---------------------------------------------------------------------------------------------


def test_request_without_a_token_is_nobody(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, people: People
) -> None:
    """Also where the process has SUPERUSER_* and a folder with a profile and sessions."""
    people.superuser()
    monkeypatch.setenv("SUPERUSER_EMAIL", "root@example.com")
    monkeypatch.setenv("SUPERUSER_PASSWORD", OLD_PASSWORD)
    monkeypatch.setenv("BAZAR_TOKEN", "a token")
    (tmp_path / "profiles.toml").write_text('active = "prod"\n')
    monkeypatch.setenv("BAZAR_CONFIG_DIR", str(tmp_path))
    for spec, request in ((ME, None), (GET, GetUser("root@example.com")), (MIGRATE, Migrate())):
        assert refusal(lambda s=spec, r=request: ask(service, None, s, r)).code == "auth.not_signed_in"


def test_bearer_is_the_user_of_the_token(service: Service, people: People, member: Someone) -> None:
    grant = ask(service, Secret(people.access_token(member)))
    assert grant.identity is not None
    assert (grant.operator.id, grant.identity.source) == (member.id, IdentitySource.BEARER)
    assert grant.identity.stored_in is None


def test_bootstrap_is_closed(alone: People, wire: Wire, issuer: str, signer: Signer) -> None:
    """SUPERUSER_EMAIL of a system without a superuser is an unknown operator."""
    root = Someone(uuid.uuid4(), "first@example.com")
    target = replace(
        wire.target,
        database_url=alone.target.database_url,
        superuser_email=root.email,
        superuser_password=Secret(OLD_PASSWORD),
    )
    token = signer.sign(claims_of(root, iss=issuer))
    wire.answers[USER] = 200, json.dumps({"id": str(root.id), "email": root.email}).encode()
    served = Service(target, issuer=issuer)
    try:
        with pytest.raises(Denied) as denied:
            ask(served, token, MIGRATE, Migrate())
    finally:
        served.close()
    assert denied.value.code == "access.unknown_operator"
    assert alone.sql("SELECT 1 FROM bazar.users") == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"iss": "https://elsewhere.example.com/auth/v1"}, "not issued by"),
        ({"iss": None}, "not issued by"),
        ({"role": "service_role"}, "role is not authenticated"),
        ({"role": "anon"}, "role is not authenticated"),
        ({"role": None}, "role is not authenticated"),
        ({"is_anonymous": True}, "anonymous user"),
        ({"sub": None}, "does not name a user"),
        ({"sub": "me"}, "does not name a user"),
        ({"exp": None}, "when it expires"),
        ({"iat": time.time() + 3600}, "in the future"),
    ],
)
def test_only_an_access_token_of_a_user_counts(
    tokens: BearerTokens, signer: Signer, member: Someone, issuer: str, change: dict[str, object], reason: str
) -> None:
    token = signer.sign(claims_of(member, **{"iss": issuer, **change}))
    refused = refusal(lambda: tokens.prove(token, ADDRESS))
    assert refused.code == "auth.token_invalid"
    assert reason in refused.message


def test_expired_forged_and_foreign_tokens_are_refused(
    tokens: BearerTokens, signer: Signer, member: Someone, issuer: str
) -> None:
    claims = claims_of(member, iss=issuer)
    assert tokens.prove(signer.sign(claims), ADDRESS).user_id == member.id
    expired = signer.sign({**claims, "iat": time.time() - 20, "exp": time.time() - 10})
    assert refusal(lambda: tokens.prove(expired, ADDRESS)).code == "auth.token_expired"
    for token in (
        Signer.stranger().sign(claims),
        Signer.stranger(signer.kid).sign(claims),
        unsigned(claims),
        Secret("not a token"),
        Secret("x" * 20_000),
        Secret("\ud800"),
    ):
        assert refusal(lambda t=token: tokens.prove(t, ADDRESS)).code == "auth.token_invalid"


def test_proof_ends_with_the_token(wire: Wire, issuer: str, signer: Signer, member: Someone) -> None:
    now = int(time.time())
    with open_http(wire.target) as http:
        tokens = BearerTokens(wire.target, issuer, http, lambda: now)
        token = signer.sign(claims_of(member, iss=issuer, exp=now + 5))
        tokens.prove(token, ADDRESS)
        now += 5
        assert refusal(lambda: tokens.prove(token, ADDRESS)).code == "auth.token_expired"


# -- what it costs at Auth --------------------------------------------------------------------------------


def test_unknown_keys_by_the_thousand_cost_one_request(
    wire: Wire, tokens: BearerTokens, signer: Signer, member: Someone, issuer: str
) -> None:
    claims = claims_of(member, iss=issuer)
    forged = [Signer.stranger().sign(claims), Signer.stranger(signer.kid).sign(claims)]

    def one(number: int) -> str:
        return refusal(lambda: tokens.prove(forged[number % 2], ADDRESS)).code

    with ThreadPoolExecutor(8) as threads:
        codes = set(threads.map(one, range(1000)))
    assert codes == {"auth.token_invalid"}
    assert tokens.prove(signer.sign(claims), ADDRESS).user_id == member.id
    assert wire.requests == [JWKS]


def test_forged_tokens_of_one_address_cost_one_request(
    wire: Wire, tokens: BearerTokens, people: People, member: Someone, issuer: str
) -> None:
    """Of tokens that only Auth can verify, it sees the first; another address is not held back by that."""
    first = by_secret(claims_of(member, iss=issuer))
    assert refusal(lambda: tokens.prove(first, ADDRESS)).code == "auth.token_invalid"
    assert refusal(lambda: tokens.prove(first, ADDRESS)).code == "auth.token_invalid"
    for number in range(50):
        another = by_secret(claims_of(member, iss=issuer, session_id=str(number)))
        with pytest.raises(BackendUnavailable) as limited:
            tokens.prove(another, ADDRESS)
        assert (limited.value.code, limited.value.details["status"]) == ("auth.too_many_refusals", 429)
        assert 0 < int(str(limited.value.details["retry_after"])) <= 30
    assert wire.requests == [USER]
    assert refusal(lambda: tokens.prove(by_secret(claims_of(member, iss=issuer, n=1)), "192.0.2.2"))
    assert wire.requests == [USER, USER]


def test_token_that_auth_confirmed_is_kept_for_reads_only(
    wire: Wire, service: Service, people: People, member: Someone, issuer: str
) -> None:
    token = by_secret(claims_of(member, iss=issuer))
    wire.answers[USER] = 200, json.dumps({"id": str(member.id), "email": member.email}).encode()
    for _ in range(3):
        assert ask(service, token).operator.id == member.id
    assert wire.requests == [USER]
    ask_to_write(service, token, member)
    assert wire.requests == [USER, USER]


def ask_to_write(service: Service, token: Secret, member: Someone) -> None:
    """Ask for a change that the policy denies to the member, after the session was confirmed."""
    with pytest.raises(Denied):
        ask(service, token, SUSPEND, SuspendUser(member.email, "why"))


def test_write_confirms_the_session(wire: Wire, service: Service, people: People, member: Someone) -> None:
    token = Secret(people.access_token(member))
    ask(service, token)
    ask_to_write(service, token, member)
    ask_to_write(service, token, member)
    assert wire.requests == [JWKS, USER, USER]
    people.auth("DELETE", f"/admin/users/{member.id}").raise_for_status()
    suspension = SuspendUser(member.email, "why")
    assert refusal(lambda: ask(service, token, SUSPEND, suspension)).code == "auth.session_revoked"
    assert ask(service, token).operator.id == member.id


def test_refused_sign_ins_are_limited_by_account_and_by_address() -> None:
    limits = SignInLimits()

    def sign_in(account: str, address: str = ADDRESS, *, refused: bool = True) -> str:
        try:
            with limits.counting(address, account):
                if refused:
                    raise NotSignedIn("auth.invalid_credentials", "no")
        except BackendUnavailable as limited:
            return str(limited.details["of"]) if int(str(limited.details["retry_after"])) in range(1, 301) else "wrong"
        except NotSignedIn:
            return "refused"
        return "signed in"

    assert [sign_in("a@example.com", f"192.0.2.{n}") for n in range(11)] == [*["refused"] * 10, "account"]
    assert sign_in("a@example.com", refused=False) == "account"
    assert {sign_in("b@example.com", refused=False) for _ in range(20)} == {"signed in"}
    several = [sign_in(f"{n}@example.com", "198.51.100.1") for n in range(51)]
    assert several == [*["refused"] * 50, "address"]


def test_addresses_of_one_ipv6_client_are_one() -> None:
    now = 0.0
    addresses = RefusedAddresses(lambda: now)

    def refuse(address: str) -> None:
        with addresses.turn(address):
            raise NotSignedIn("auth.token_invalid", "no")

    for address in ("2001:db8::1", "2001:db8:0:1::1", ""):
        with pytest.raises(NotSignedIn):
            refuse(address)
    with pytest.raises(BackendUnavailable):
        refuse("2001:db8::ffff%eth0")
    now = 30.0
    with pytest.raises(NotSignedIn):
        refuse("2001:db8::ffff")


def test_keys_are_asked_for_again_after_a_while_and_sooner_after_a_failure(wire: Wire, signer: Signer) -> None:
    now = 0.0
    with open_http(wire.target) as http:
        keys = KeptKeySet(wire.target, http, lambda: now)
        wire.cut = True
        for _ in range(2):
            with pytest.raises(BackendUnavailable):
                keys.find(signer.kid)
        assert wire.requests == [JWKS]
        wire.cut, now = False, 5.0
        assert keys.find(signer.kid) is not None
        assert keys.find("another") is None
        now = 34.9
        assert keys.find("another") is None
        assert wire.requests == [JWKS, JWKS]
        now = 35.0
        assert keys.find("another") is None
        assert wire.requests == [JWKS] * 3
        # Without an answer the known key counts for a day.
        wire.cut, now = True, 86_000.0
        assert keys.find(signer.kid) is not None
        now = 86_500.0
        with pytest.raises(BackendUnavailable):
            keys.find(signer.kid)


def test_thread_with_a_key_does_not_wait_for_one_that_asks(wire: Wire, signer: Signer) -> None:
    now = 0.0
    with open_http(wire.target) as http:
        keys = KeptKeySet(wire.target, http, lambda: now)
        keys.find(signer.kid)
        release, now = wire.hold(JWKS), 700.0
        with ThreadPoolExecutor(1) as threads:
            asking = threads.submit(keys.find, "another")
            while len(wire.requests) < 2:
                time.sleep(0.01)
            assert keys.find(signer.kid) is not None
            assert not asking.done()
            release.set()
            assert asking.result() is None


# -- connections and waits --------------------------------------------------------------------------------


def test_requests_share_connections(service: Service, people: People, member: Someone) -> None:
    token = Secret(people.access_token(member))

    def backend(backends: Backends, grant: Grant, _request: None) -> int:
        with backends.database().read(grant) as connection:
            return connection.info.backend_pid

    def one(_number: int) -> int:
        with service.gate(token, "a-request", ADDRESS) as gate:
            return gate.perform(backend, ME, None)

    with ThreadPoolExecutor(8) as threads:
        pids = set(threads.map(one, range(50)))
    assert 1 <= len(pids) <= service.places.connections


def test_connections_that_the_server_ended_are_replaced(service: Service, people: People, member: Someone) -> None:
    token = Secret(people.access_token(member))
    with service.gate(token, "1", ADDRESS) as one, service.gate(token, "2", ADDRESS) as another:
        one.authorize(ME, None)
        another.authorize(ME, None)
    people.sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'bazar' AND datname = current_database()"
    )
    for _ in range(5):
        assert ask(service, token).operator.id == member.id


def test_full_pool_answers_that_it_is_busy(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bazar_cli.adapters.postgres.pool.WAIT_SECONDS", 0.1)
    pool = Pool(target.database_url, 1)
    try:
        with pool.lent(), pytest.raises(BackendUnavailable) as busy, pool.lent():
            pass
        with pool.lent() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        pool.end()
    assert busy.value.code == "server.busy"


def test_unreachable_database_is_named(service: Service, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bazar_cli.adapters.postgres.pool.WAIT_SECONDS", 0.5)
    pool = Pool(Secret("postgresql://127.0.0.1:1/bazar"), 1)
    try:
        with pytest.raises(BackendUnavailable) as away:
            load_operator(Database(target, pool), target, uuid.uuid4())
    finally:
        pool.end()
    assert away.value.code == "postgres.unavailable"
    assert "Connection refused" in away.value.message


def test_lease_and_row_of_another_are_not_waited_for_long(service: Service, people: People) -> None:
    ruler, held = people.known_superuser(), people.user()
    token = Secret(people.access_token(ruler))

    def rename() -> None:
        with service.gate(token, "a-request", ADDRESS) as gate:
            gate.perform(update.update, UPDATE, UpdateUser(held.email, name="New"))

    people.sql(
        "UPDATE bazar.users SET pending = 'suspend', lease_owner = gen_random_uuid(), lease_until = now() + '1 h'"
        " WHERE id = %s",
        held.id,
    )
    with pytest.raises(Conflict) as busy:
        rename()
    assert busy.value.code == "users.busy"
    people.sql("UPDATE bazar.users SET pending = NULL, lease_owner = NULL, lease_until = NULL WHERE id = %s", held.id)
    with psycopg.connect(people.target.database_url.reveal()) as other:
        other.execute("SELECT 1 FROM bazar.users WHERE id = %s FOR UPDATE", (held.id,))
        with pytest.raises(BackendUnavailable) as locked:
            rename()
    assert locked.value.code == "postgres.busy"
    rename()
