"""Verification of access tokens, by cached keys or by the Auth service, and the cache itself."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Generator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from jwt.algorithms import ECAlgorithm

from bazar_cli.adapters.supabase.tokens import SKEW_SECONDS, TokenVerifier
from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.errors import BackendUnavailable, BazarError, NotSignedIn
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target
from tests.support.people import People, Someone
from tests.support.tokens import JWKS, USER, Signer, Wire, claims_of, unsigned, wire_to

HOUR = 3600
_ELSEWHERE = """
import json, sys
from pathlib import Path
from bazar_cli.adapters.supabase.tokens import TokenVerifier
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target, TargetKind, TargetSource
url, folder, token = sys.argv[1:]
target = Target(TargetSource(TargetKind.ENVIRONMENT, "environment"), url, Secret("key"), Secret("postgresql://none"))
claims = TokenVerifier(target, Path(folder)).verify(Secret(token))
print(json.dumps([str(claims.user_id), sorted(sys.modules)]))
"""


@pytest.fixture
def someone() -> Someone:
    """Somebody whom nobody knows: what a token says is proven by its signature alone."""
    return Someone(uuid.uuid4(), "someone@example.com")


@pytest.fixture
def member(people: People) -> Someone:
    """A user whom the Auth service knows."""
    return people.known_user()


@pytest.fixture
def signer(auth_keys: AuthKeys) -> Signer:
    """What the Auth service signs with."""
    return Signer.of(auth_keys)


@pytest.fixture
def wire(target: Target) -> Generator[Wire]:
    with wire_to(target) as lent:
        yield lent


def later(seconds: float) -> Callable[[], float]:
    """A clock that is ahead by so much, or behind."""
    return lambda: time.time() + seconds


def cache_file(folder: Path) -> Path:
    """The one cached key set."""
    (found,) = (folder / "cache").glob("*.json")
    return found


def refused(verifier: TokenVerifier, token: Secret) -> BazarError:
    """The error for a token that must not pass."""
    with pytest.raises(NotSignedIn) as caught:
        verifier.verify(token)
    assert caught.value.hint
    assert not token.reveal() or token.reveal() not in caught.value.message
    return caught.value


# -- tokens that the service signed ---------------------------------------------------------------------------


def test_token_of_a_sign_in(wire: Wire, people: People, member: Someone, tmp_path: Path) -> None:
    claims = TokenVerifier(wire.target, tmp_path).verify(Secret(people.access_token(member)))
    (session,) = people.sql("SELECT id FROM auth.sessions WHERE user_id = %s", member.id)
    assert (claims.user_id, claims.email) == (member.id, member.email)
    assert claims.session_id == str(session["id"])
    assert 0 < claims.expires_at.timestamp() - time.time() <= HOUR
    assert not claims.asked_auth
    assert wire.requests == [JWKS]


def test_expired(wire: Wire, someone: Someone, signer: Signer, tmp_path: Path) -> None:
    expired = signer.sign(claims_of(someone, exp=int(time.time()) - SKEW_SECONDS - 1))
    assert refused(TokenVerifier(wire.target, tmp_path), expired).code == "auth.token_expired"
    assert wire.requests == []


def test_expired_by_less_than_clocks_may_differ_is_for_the_service_to_judge(
    wire: Wire, people: People, member: Someone, signer: Signer, tmp_path: Path
) -> None:
    expired = signer.sign(claims_of(member, exp=int(time.time()) - 1))
    assert refused(TokenVerifier(wire.target, tmp_path), expired).code == "auth.token_expired"
    # By a clock that is a minute ahead the hour of this token is over; by that of the service it is not.
    ahead = TokenVerifier(wire.target, tmp_path, later(HOUR + 60))
    assert ahead.verify(Secret(people.access_token(member))).asked_auth
    assert wire.requests == [USER, USER]


@pytest.mark.parametrize(("ahead", "good"), [(HOUR + 240, True), (HOUR + SKEW_SECONDS + 60, False)])
def test_end_that_was_measured_counts_within_the_difference_that_clocks_may_have(
    wire: Wire, someone: Someone, signer: Signer, tmp_path: Path, ahead: int, good: bool
) -> None:
    token, clock = signer.sign(claims_of(someone)), later(ahead)
    measured = datetime.fromtimestamp(clock() + 30, tz=timezone.utc)
    verifier = TokenVerifier(wire.target, tmp_path, clock)
    if good:
        assert verifier.verify(token, ends=measured).user_id == someone.id
    else:
        with pytest.raises(NotSignedIn) as caught:
            verifier.verify(token, ends=measured)
        assert (caught.value.code, "clock" in caught.value.hint) == ("auth.token_expired", True)
    assert wire.requests == ([JWKS] if good else [])


@pytest.mark.parametrize("seconds", [90, -90])
def test_clocks_may_differ_by_so_much(
    target: Target, someone: Someone, signer: Signer, tmp_path: Path, seconds: int
) -> None:
    token = signer.sign(claims_of(someone))
    assert TokenVerifier(target, tmp_path, later(seconds)).verify(token).user_id == someone.id


def test_issued_in_ten_minutes(target: Target, someone: Someone, signer: Signer, tmp_path: Path) -> None:
    token = signer.sign(claims_of(someone, iat=int(time.time()) + 600))
    assert "clock" in refused(TokenVerifier(target, tmp_path), token).message


@pytest.mark.parametrize("missing", ["sub", "exp"])
def test_claim_is_missing(target: Target, someone: Someone, signer: Signer, tmp_path: Path, missing: str) -> None:
    token = signer.sign(claims_of(someone, **{missing: None}))
    assert refused(TokenVerifier(target, tmp_path), token).code == "auth.token_invalid"


@pytest.mark.parametrize(
    "changes",
    [{"sub": "somebody"}, {"sub": ""}, {"exp": "tomorrow"}, {"iat": "today"}, {"exp": 1e300}],
    ids=lambda changes: str(changes),
)
def test_claim_is_no_such_thing(
    target: Target, someone: Someone, signer: Signer, tmp_path: Path, changes: dict[str, object]
) -> None:
    token = signer.sign({**claims_of(someone), **changes})
    assert refused(TokenVerifier(target, tmp_path), token).code == "auth.token_invalid"


# -- tokens that somebody made ---------------------------------------------------------------------------------


def test_forged_under_a_known_key(wire: Wire, someone: Someone, signer: Signer, tmp_path: Path) -> None:
    forged = Signer.stranger(signer.kid).sign(claims_of(someone))
    error = refused(TokenVerifier(wire.target, tmp_path), forged)
    assert (error.code, "signature" in error.message) == ("auth.token_invalid", True)


def test_claims_changed_after_signing(target: Target, someone: Someone, signer: Signer, tmp_path: Path) -> None:
    _, _, signature = signer.sign(claims_of(someone)).reveal().split(".")
    changed = unsigned(claims_of(someone, email="root@example.com"), alg="ES256", kid=signer.kid).reveal() + signature
    assert refused(TokenVerifier(target, tmp_path), Secret(changed)).code == "auth.token_invalid"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
def test_unsigned(wire: Wire, someone: Someone, signer: Signer, tmp_path: Path, algorithm: str) -> None:
    token = unsigned(claims_of(someone), alg=algorithm, kid=signer.kid)
    assert refused(TokenVerifier(wire.target, tmp_path), token).code == "auth.token_invalid"
    assert wire.requests == []


def test_signed_with_the_public_key_as_a_secret(wire: Wire, someone: Someone, signer: Signer, tmp_path: Path) -> None:
    public = ECAlgorithm.from_jwk(json.dumps(signer.public))
    assert isinstance(public, EllipticCurvePublicKey)
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    # PyJWT itself refuses to sign with such a secret; an attacker's library does not.
    parts = unsigned(claims_of(someone), alg="HS256", kid=signer.kid).reveal().rstrip(".")
    signature = jwt.get_algorithm_by_name("HS256").sign(parts.encode(), pem)
    token = Secret(f"{parts}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}")
    assert refused(TokenVerifier(wire.target, tmp_path), token).code == "auth.token_invalid"
    assert wire.requests == [USER]


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA", "ES512"])
def test_another_algorithm_than_the_keys(
    target: Target, someone: Someone, signer: Signer, tmp_path: Path, algorithm: str
) -> None:
    token = unsigned(claims_of(someone), alg=algorithm, kid=signer.kid).reveal() + "AAAA"
    assert refused(TokenVerifier(target, tmp_path), Secret(token)).code == "auth.token_invalid"


# The lone surrogate is what a byte that is no UTF-8 becomes in BAZAR_TOKEN.
@pytest.mark.parametrize("text", ["", "x", "not.a.token", "...", "é.é.é", "\udcff.a.b", "e30.e30.e30", "x" * 100_000])
def test_no_token_at_all(wire: Wire, tmp_path: Path, text: str) -> None:
    assert refused(TokenVerifier(wire.target, tmp_path), Secret(text)).code == "auth.token_invalid"
    assert wire.requests == []


DEEP = "[" * 20_000
MANY_DIGITS = "9" * 5_000


@pytest.mark.parametrize("part", [DEEP, MANY_DIGITS, f'{{"alg": {DEEP}', f'{{"exp": {MANY_DIGITS}}}'])
@pytest.mark.parametrize("place", [0, 1])
def test_a_token_that_no_parser_takes(target: Target, tmp_path: Path, part: str, place: int) -> None:
    parts = ['{"alg": "ES256", "kid": "any"}', '{"exp": 1}']
    parts[place] = part
    text = ".".join(base64.urlsafe_b64encode(p.encode()).decode().rstrip("=") for p in parts) + ".x"
    assert refused(TokenVerifier(target, tmp_path), Secret(text)).code == "auth.token_invalid"


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), -1, 10**300, 1e300, "1", []])
@pytest.mark.parametrize("claim", ["exp", "iat"])
def test_a_time_that_no_calendar_has(
    target: Target, someone: Someone, signer: Signer, tmp_path: Path, claim: str, moment: object
) -> None:
    payload = {**claims_of(someone), claim: moment}
    token = unsigned(payload, alg="ES256", kid=signer.kid)
    soon = datetime.now(timezone.utc) + timedelta(hours=1)
    with pytest.raises(NotSignedIn) as error:
        TokenVerifier(target, tmp_path).verify(token, ends=soon)
    assert error.value.code == "auth.token_invalid"


@pytest.mark.parametrize("claims", [[], "text", 5, None])
def test_claims_are_no_object(target: Target, tmp_path: Path, claims: object) -> None:
    token = unsigned(claims, alg="ES256", kid="any")
    assert refused(TokenVerifier(target, tmp_path), token).code == "auth.token_invalid"


def test_service_key_is_no_access_token(wire: Wire, auth_keys: AuthKeys, tmp_path: Path) -> None:
    for key in (auth_keys.service_key, auth_keys.anon_key, auth_keys.secret_key):
        assert refused(TokenVerifier(wire.target, tmp_path), Secret(key)).code == "auth.token_invalid"
    assert wire.requests == []


# -- the shared secret of an older project ---------------------------------------------------------------------


def test_token_of_the_shared_secret_is_for_the_service_to_judge(
    wire: Wire, people: People, member: Someone, auth_keys: AuthKeys, tmp_path: Path
) -> None:
    people.access_token(member)
    (session,) = people.sql("SELECT id FROM auth.sessions WHERE user_id = %s", member.id)
    claims = claims_of(member, session_id=str(session["id"]), email="old@example.com")
    token = Secret(jwt.encode(claims, auth_keys.jwt_secret, algorithm="HS256"))
    found = TokenVerifier(wire.target, tmp_path).verify(token)
    assert (found.user_id, found.email, found.asked_auth) == (member.id, member.email, True)
    assert wire.requests == [USER]


def test_token_of_the_shared_secret_of_an_ended_session(
    target: Target, member: Someone, auth_keys: AuthKeys, tmp_path: Path
) -> None:
    token = Secret(jwt.encode(claims_of(member), auth_keys.jwt_secret, algorithm="HS256"))
    assert refused(TokenVerifier(target, tmp_path), token).code == "auth.session_revoked"


# -- keys and their cache --------------------------------------------------------------------------------------


def test_unknown_key_is_asked_for_once(wire: Wire, someone: Someone, signer: Signer, tmp_path: Path) -> None:
    TokenVerifier(wire.target, tmp_path).verify(signer.sign(claims_of(someone)))
    wire.requests.clear()
    verifier = TokenVerifier(wire.target, tmp_path)
    for _ in range(3):
        assert refused(verifier, Signer.stranger().sign(claims_of(someone))).code == "auth.token_invalid"
    assert verifier.verify(signer.sign(claims_of(someone))).user_id == someone.id
    assert wire.requests == [JWKS, USER, USER, USER]


def test_rotated_key_is_found_by_one_request(wire: Wire, someone: Someone, signer: Signer, tmp_path: Path) -> None:
    before = Signer.stranger()
    wire.keys = [before.public]
    TokenVerifier(wire.target, tmp_path).verify(before.sign(claims_of(someone)))
    wire.keys = [signer.public, before.public]
    wire.requests.clear()
    for one in (signer, before, signer):
        assert TokenVerifier(wire.target, tmp_path).verify(one.sign(claims_of(someone))).user_id == someone.id
    assert wire.requests == [JWKS]


def test_key_taken_back_no_longer_verifies(wire: Wire, someone: Someone, signer: Signer, tmp_path: Path) -> None:
    lost = Signer.stranger()
    wire.keys = [lost.public, signer.public]
    token = lost.sign(claims_of(someone))
    TokenVerifier(wire.target, tmp_path).verify(token)
    wire.keys = [signer.public]
    assert refused(TokenVerifier(wire.target, tmp_path, later(700)), token).code == "auth.token_invalid"


def test_fresh_cache_needs_neither_request_nor_http_library(
    wire: Wire, someone: Someone, signer: Signer, tmp_path: Path
) -> None:
    token = signer.sign(claims_of(someone))
    TokenVerifier(wire.target, tmp_path).verify(token)
    wire.requests.clear()
    words = [sys.executable, "-c", _ELSEWHERE, wire.target.supabase_url, str(tmp_path), token.reveal()]
    user_id, modules = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    assert user_id == str(someone.id)
    assert not {"httpx", "supabase_auth", "sqlalchemy", "pydantic"} & set(modules)
    assert wire.requests == []


@pytest.mark.parametrize(("age", "good"), [(2 * HOUR, True), (24 * HOUR - 60, True), (24 * HOUR + 60, False)])
def test_stale_keys_verify_for_a_day_while_the_service_is_down(
    wire: Wire, someone: Someone, signer: Signer, tmp_path: Path, age: int, good: bool
) -> None:
    token = signer.sign(claims_of(someone, exp=int(time.time()) + 48 * HOUR))
    TokenVerifier(wire.target, tmp_path).verify(token)
    wire.cut = True
    verifier = TokenVerifier(wire.target, tmp_path, later(age))
    if good:
        assert verifier.verify(token).user_id == someone.id
    else:
        with pytest.raises(BackendUnavailable) as caught:
            verifier.verify(token)
        assert caught.value.code == "supabase.unavailable"


def test_no_keys_and_the_service_is_down(wire: Wire, someone: Someone, signer: Signer, tmp_path: Path) -> None:
    wire.cut = True
    with pytest.raises(BackendUnavailable) as caught:
        TokenVerifier(wire.target, tmp_path).verify(signer.sign(claims_of(someone)))
    assert caught.value.code == "supabase.unavailable"


@pytest.mark.parametrize("bits", [0o620, 0o602, 0o666])
def test_cache_that_others_can_write_is_ignored(
    wire: Wire, someone: Someone, signer: Signer, tmp_path: Path, bits: int
) -> None:
    TokenVerifier(wire.target, tmp_path).verify(signer.sign(claims_of(someone)))
    intruder, path = Signer.stranger(), cache_file(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "keys": [intruder.public]}))
    path.chmod(bits)
    token = intruder.sign(claims_of(someone))
    assert refused(TokenVerifier(wire.target, tmp_path), token).code == "auth.token_invalid"
    assert path.stat().st_mode & 0o777 == 0o600


def test_cache_of_another_service_is_ignored(
    wire: Wire, target: Target, someone: Someone, signer: Signer, tmp_path: Path
) -> None:
    intruder = Signer.stranger()
    wire.keys = [intruder.public]
    token = intruder.sign(claims_of(someone))
    TokenVerifier(wire.target, tmp_path).verify(token)
    ours = tmp_path / "ours"
    TokenVerifier(target, ours).verify(signer.sign(claims_of(someone)))
    cache_file(ours).write_text(cache_file(tmp_path).read_text())
    assert refused(TokenVerifier(target, ours), token).code == "auth.token_invalid"


BROKEN = {
    "truncated": '{"url": "http',
    "nothing": "",
    "another shape": "[]",
    "no keys": '{{"url": "{url}", "fetched_at": {now}, "keys": null}}',
    "keys of another shape": '{{"url": "{url}", "fetched_at": {now}, "keys": ["k"]}}',
    "no time": '{{"url": "{url}", "fetched_at": "now", "keys": []}}',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_broken_cache_is_made_again(
    target: Target, someone: Someone, signer: Signer, tmp_path: Path, content: str
) -> None:
    token = signer.sign(claims_of(someone))
    TokenVerifier(target, tmp_path).verify(token)
    path = cache_file(tmp_path)
    broken = content.format(url=target.supabase_url, now=time.time()) if "url}" in content else content
    path.write_text(broken)
    assert TokenVerifier(target, tmp_path).verify(token).user_id == someone.id
    assert json.loads(path.read_text())["keys"][0]["kid"] == signer.kid


@pytest.mark.parametrize("obstacle", ["file", "link"])
def test_folder_that_cannot_be_written_costs_a_request_each_time(
    wire: Wire, someone: Someone, signer: Signer, tmp_path: Path, obstacle: str
) -> None:
    if obstacle == "file":
        (tmp_path / "cache").write_text("in the way")
    else:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "cache").symlink_to(tmp_path / "elsewhere")
    for verifier in (TokenVerifier(wire.target, tmp_path), TokenVerifier(wire.target, tmp_path)):
        for _ in range(2):
            assert verifier.verify(signer.sign(claims_of(someone))).user_id == someone.id
    assert wire.requests == [JWKS, JWKS]
    assert list((tmp_path / "elsewhere").glob("*")) == []


def test_cache_is_private(target: Target, someone: Someone, signer: Signer, tmp_path: Path) -> None:
    TokenVerifier(target, tmp_path / "data").verify(signer.sign(claims_of(someone)))
    path = cache_file(tmp_path / "data")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize(
    "changes", [{"kty": None}, {"x": None}, {"x": "!"}, {"crv": "P-999"}, {"kty": "RSA"}], ids=lambda c: str(c)
)
def test_key_that_is_not_a_key(
    wire: Wire, someone: Someone, signer: Signer, tmp_path: Path, changes: dict[str, object]
) -> None:
    wire.keys = [{name: value for name, value in {**signer.public, **changes}.items() if value is not None}]
    token = signer.sign(claims_of(someone))
    assert refused(TokenVerifier(wire.target, tmp_path), token).code == "auth.token_invalid"


def test_service_without_a_key_set_judges_itself(
    wire: Wire, people: People, member: Someone, signer: Signer, tmp_path: Path
) -> None:
    wire.answers[JWKS] = (404, b"not found")
    claims = TokenVerifier(wire.target, tmp_path).verify(Secret(people.access_token(member)))
    assert (claims.user_id, claims.asked_auth) == (member.id, True)
    forged = Signer.stranger(signer.kid).sign(claims_of(member))
    assert refused(TokenVerifier(wire.target, tmp_path), forged).code == "auth.token_invalid"
