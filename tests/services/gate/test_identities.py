"""Who is asking: the order of the sources, the stored session and its renewal, confirmation, bootstrap."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from bazar_cli.adapters.config import sessions
from bazar_cli.adapters.config.sessions import Sessions
from bazar_cli.adapters.supabase.auth_client import AuthClient
from bazar_cli.devstack.auth.keys import AuthKeys
from bazar_cli.domain.errors import BackendUnavailable, NotSignedIn
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Identity, IdentitySource, Session, Target, TargetKind, TargetSource
from bazar_cli.services.gate.identities import Identities, SignInSettings
from tests.support.people import OLD_PASSWORD, People, Someone
from tests.support.tokens import JWKS, REFRESH, USER, Signer, Wire, claims_of, wire_to

PASSWORD = Secret(OLD_PASSWORD)
SOON = timedelta(seconds=30)


@pytest.fixture
def someone(people: People) -> Someone:
    """A user whom the Auth service knows."""
    return people.known_user()


@pytest.fixture
def wire(target: Target) -> Generator[Wire]:
    with wire_to(target) as lent:
        yield lent


@dataclass(frozen=True)
class Machine:
    """A machine's configuration folder, and the target that its commands speak to."""

    target: Target
    folder: Path
    opened: ExitStack
    """Closes the connections of what was made."""

    @property
    def environ(self) -> Mapping[str, str]:
        return {"BAZAR_CONFIG_DIR": str(self.folder / "config"), "BAZAR_DATA_DIR": str(self.folder / "data")}

    @property
    def sessions(self) -> Sessions:
        return Sessions.of(self.target, self.environ)

    @property
    def session(self) -> Session:
        """The stored session."""
        stored = self.sessions.load()
        assert stored is not None
        return stored

    @property
    def file(self) -> Path:
        """The file of the stored session."""
        return Path(self.sessions.where)

    def on(self, target: Target) -> Machine:
        return replace(self, target=target)

    def signs_in(self, someone: Someone) -> Session:
        """Sign in and store the session, as `auth login` does."""
        with AuthClient(self.target) as client:
            session = client.sign_in(someone.email, PASSWORD)
        return self.stores(session)

    def stores(self, session: Session) -> Session:
        with self.sessions.lock():
            self.sessions.save(session)
        return session

    def identities(
        self, token: Secret | None = None, *, prompt_possible: bool = False, clock: Callable[[], datetime] | None = None
    ) -> Identities:
        """What one command of this machine finds out with."""
        settings = SignInSettings(self.environ, token, prompt_possible=prompt_possible)
        made = Identities(self.target, settings, clock) if clock else Identities(self.target, settings)
        self.opened.callback(made.close)
        return made

    def refused(self, token: Secret | None = None) -> str:
        """The code of the error for a command that nobody is signed in for."""
        with pytest.raises(NotSignedIn) as caught:
            self.identities(token).current()
        assert caught.value.hint
        return caught.value.code


@pytest.fixture
def machine(target: Target, tmp_path: Path) -> Generator[Machine]:
    with ExitStack() as opened:
        yield Machine(target, tmp_path, opened)


@pytest.fixture
def wired(wire: Wire, tmp_path: Path) -> Generator[Machine]:
    """A machine whose requests to Auth are written down."""
    with ExitStack() as opened:
        yield Machine(wire.target, tmp_path, opened)


def as_superuser(target: Target, email: str, password: Secret = PASSWORD) -> Target:
    return replace(target, superuser_email=email, superuser_password=password)


def now() -> datetime:
    return datetime.now(timezone.utc)


def ends_soon(session: Session) -> Session:
    return replace(session, expires_at=now() + SOON)


# -- which source ----------------------------------------------------------------------------------------------


def test_token_comes_before_session_comes_before_superuser(machine: Machine, people: People) -> None:
    root, owner, agent = people.known_user(), people.known_user(), people.known_user()
    machine = machine.on(as_superuser(machine.target, root.email))
    assert machine.identities().current().source is IdentitySource.SUPERUSER
    machine.signs_in(owner)
    found = machine.identities().current()
    assert (found.user_id, found.source, found.stored_in) == (owner.id, IdentitySource.SESSION, machine.file)
    found = machine.identities(Secret(people.access_token(agent))).current()
    assert (found.user_id, found.source, found.stored_in) == (agent.id, IdentitySource.TOKEN, None)


def test_bad_token_does_not_fall_back_to_the_session(machine: Machine, someone: Someone) -> None:
    machine.signs_in(someone)
    assert machine.refused(Secret("not.a.token")) == "auth.token_invalid"
    assert machine.refused(Signer.stranger().sign(claims_of(someone))) == "auth.token_invalid"


def test_superuser_password_that_stands_in_quotes_is_named_where_it_is_refused(
    machine: Machine, someone: Someone
) -> None:
    quoted = machine.on(as_superuser(machine.target, someone.email, Secret(f"'{OLD_PASSWORD}'")))
    with pytest.raises(NotSignedIn, match="begins and ends with quotes") as refused:
        quoted.identities().current()
    assert (refused.value.code, OLD_PASSWORD in refused.value.message) == ("auth.invalid_credentials", False)


def test_superuser_of_the_environment_leaves_nothing_on_disk(machine: Machine, someone: Someone) -> None:
    machine = machine.on(as_superuser(machine.target, someone.email))
    found = machine.identities().current()
    assert (found.user_id, found.email, found.stored_in) == (someone.id, someone.email, None)
    assert not list(machine.folder.glob("config/**/*"))


@pytest.mark.parametrize(
    "source",
    [
        TargetSource(TargetKind.ENV_FILE, ".env"),
        TargetSource(TargetKind.ENV_FILE, "my.env", explicit=True),
        TargetSource(TargetKind.PROFILE, "staging"),
    ],
    ids=str,
)
def test_superuser_of_a_file_or_profile_signs_in_nobody(wired: Machine, wire: Wire, source: TargetSource) -> None:
    machine = wired.on(as_superuser(replace(wired.target, source=source), "root@example.com"))
    assert machine.refused() == "auth.not_signed_in"
    assert wire.requests == []


def test_superuser_of_the_environment_is_not_taken_where_a_person_sits(machine: Machine, someone: Someone) -> None:
    machine = machine.on(as_superuser(machine.target, someone.email))
    with pytest.raises(NotSignedIn) as caught:
        machine.identities(prompt_possible=True).current()
    assert caught.value.code == "auth.not_signed_in"


def test_wrong_superuser_password(machine: Machine, someone: Someone) -> None:
    assert machine.on(as_superuser(machine.target, someone.email, Secret("wrong"))).refused() == (
        "auth.invalid_credentials"
    )


def test_without_any_identity(machine: Machine) -> None:
    assert machine.refused() == "auth.not_signed_in"


def test_one_command_finds_out_once(wired: Machine, wire: Wire, someone: Someone) -> None:
    wired.signs_in(someone)
    wire.requests.clear()
    identities = wired.identities()
    assert identities.current() is identities.current()
    identity = identities.confirm(identities.current())
    assert identities.confirm(identity) is identity
    assert wire.requests == [JWKS, USER]


# -- the stored session ----------------------------------------------------------------------------------------


def test_session_is_used_as_long_as_it_lasts(wired: Machine, wire: Wire, someone: Someone) -> None:
    session = wired.signs_in(someone)
    found = wired.identities(clock=lambda: session.expires_at - timedelta(seconds=61)).current()
    assert found.access_token == session.access_token
    assert REFRESH not in wire.requests


def test_session_about_to_end_is_renewed_and_stored(wired: Machine, wire: Wire, someone: Someone) -> None:
    session = wired.stores(ends_soon(wired.signs_in(someone)))
    found = wired.identities().current()
    stored = wired.session
    assert (found.user_id, found.access_token) == (someone.id, stored.access_token)
    assert stored.refresh_token != session.refresh_token
    assert stored.expires_at > now() + timedelta(minutes=50)
    assert wire.requests.count(REFRESH) == 1
    assert wired.file.stat().st_mode & 0o777 == 0o600


def test_two_that_renew_at_once_ask_once(wired: Machine, wire: Wire, someone: Someone) -> None:
    wired.stores(ends_soon(wired.signs_in(someone)))
    both = threading.Barrier(2)

    def clock() -> datetime:
        # A command looks at the clock after it read the session: each sees the old one.
        both.wait()
        return now()

    def one() -> Identity:
        return wired.identities(clock=clock).current()

    with ThreadPoolExecutor() as pool:
        first, second = [running.result() for running in (pool.submit(one), pool.submit(one))]
    assert first.access_token == second.access_token == wired.session.access_token
    assert wire.requests.count(REFRESH) == 1


def test_session_under_a_key_that_is_gone_is_renewed(wired: Machine, wire: Wire, someone: Someone) -> None:
    gone = Signer.stranger().sign(claims_of(someone))
    wired.stores(replace(wired.signs_in(someone), access_token=gone))
    assert wired.identities().current().user_id == someone.id
    assert wired.session.access_token != gone


def test_session_that_ended_by_this_clock_is_renewed(
    wired: Machine, wire: Wire, someone: Someone, auth_keys: AuthKeys
) -> None:
    ended = Signer.of(auth_keys).sign(claims_of(someone, exp=int(now().timestamp()) - 5))
    wired.stores(replace(wired.signs_in(someone), access_token=ended))
    assert wired.identities().current().user_id == someone.id
    assert wire.requests.count(REFRESH) == 1


def test_session_ended_at_supabase(machine: Machine, someone: Someone) -> None:
    session = machine.stores(ends_soon(machine.signs_in(someone)))
    with AuthClient(machine.target) as client:
        client.sign_out(session.access_token, "global")
    assert machine.refused() == "auth.session_expired"


def test_ended_session_makes_way_for_the_superuser_of_the_environment(machine: Machine, people: People) -> None:
    someone, root = people.known_user(), people.known_user()
    session = machine.stores(ends_soon(machine.signs_in(someone)))
    with AuthClient(machine.target) as client:
        client.sign_out(session.access_token, "global")
    assert machine.on(as_superuser(machine.target, root.email)).identities().current().user_id == root.id


def test_refresh_token_used_up_by_somebody_else(machine: Machine, people: People, someone: Someone) -> None:
    session = machine.stores(ends_soon(machine.signs_in(someone)))
    with AuthClient(machine.target) as client:
        client.refresh(client.refresh(session.refresh_token).refresh_token)
    people.sql(
        "UPDATE auth.refresh_tokens SET updated_at = now() - interval '1 minute' WHERE token = %s",
        session.refresh_token.reveal(),
    )
    assert machine.refused() == "auth.session_expired"


def test_banned_user_is_not_renewed(machine: Machine, people: People, someone: Someone) -> None:
    machine.stores(ends_soon(machine.signs_in(someone)))
    people.sql("UPDATE auth.users SET banned_until = now() + interval '1 hour' WHERE id = %s", someone.id)
    assert machine.refused() == "auth.user_banned"


def test_session_of_another_service_is_not_sent_to_this_one(machine: Machine, wire: Wire, someone: Someone) -> None:
    staging = TargetSource(TargetKind.PROFILE, "staging")
    before, after = (machine.on(replace(t, source=staging)) for t in (machine.target, wire.target))
    before.signs_in(someone)
    assert after.file == before.file
    assert after.refused() == "auth.not_signed_in"
    assert wire.requests == []


def test_profiles_of_one_service_have_sessions_of_their_own(machine: Machine, someone: Someone) -> None:
    one, two = (machine.on(replace(machine.target, source=TargetSource(TargetKind.PROFILE, n))) for n in ("1", "2"))
    one.signs_in(someone)
    assert one.identities().current().user_id == someone.id
    assert two.refused() == "auth.not_signed_in"


BROKEN: dict[str, Callable[[str], str]] = {
    "truncated": lambda text: text[: len(text) // 2],
    "empty": lambda _text: "",
    "a list": lambda _text: "[]",
    "null": lambda _text: "null",
    "no tokens": lambda text: json.dumps({"auth": json.loads(text)["auth"]}),
    "no id": lambda text: json.dumps({**json.loads(text), "user_id": "me"}),
    "no time": lambda text: json.dumps({**json.loads(text), "expires_at": "soon"}),
    "time without zone": lambda text: json.dumps({**json.loads(text), "expires_at": "2000-01-01T00:00:00"}),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_broken_session(machine: Machine, broken: Callable[[str], str]) -> None:
    tokens = {"access_token": Secret("hidden-access"), "refresh_token": Secret("hidden-refresh")}
    machine.stores(Session(uuid4(), "a@example.com", **tokens, expires_at=now() + timedelta(hours=1)))
    machine.file.write_text(broken(machine.file.read_text()))
    with pytest.raises(NotSignedIn) as caught:
        machine.identities().current()
    assert caught.value.code == "auth.session_unreadable"
    assert str(machine.file) in caught.value.message
    assert "hidden" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("bits", [0o644, 0o640, 0o604, 0o620])
def test_session_that_others_can_read(machine: Machine, bits: int) -> None:
    tokens = {"access_token": Secret("a"), "refresh_token": Secret("r")}
    machine.stores(Session(uuid4(), "a@example.com", **tokens, expires_at=now() + timedelta(hours=1)))
    machine.file.chmod(bits)
    assert machine.refused() == "auth.session_unreadable"


def test_session_that_is_a_folder(machine: Machine) -> None:
    machine.file.mkdir(parents=True)
    assert machine.refused() == "auth.session_unreadable"


# -- Auth is down ----------------------------------------------------------------------------------------------


def test_read_works_while_auth_is_down_and_a_write_does_not(wired: Machine, wire: Wire, someone: Someone) -> None:
    wired.signs_in(someone)
    wired.identities().current()
    wire.cut = True
    identities = wired.identities()
    identity = identities.current()
    assert identity.user_id == someone.id
    with pytest.raises(BackendUnavailable) as caught:
        identities.confirm(identity)
    assert caught.value.code == "supabase.unavailable"


def test_last_seconds_of_a_session_are_good_for_a_read(wired: Machine, wire: Wire, someone: Someone) -> None:
    session = wired.signs_in(someone)
    wired.identities().current()
    wired.stores(ends_soon(session))
    wire.cut = True
    assert wired.identities().current().access_token == session.access_token
    with pytest.raises(BackendUnavailable):
        wired.identities(clock=lambda: session.expires_at + SOON).current()
    assert wired.session.refresh_token == session.refresh_token


def test_lock_that_is_never_given_back_ends_the_wait(
    machine: Machine, someone: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LOCK_SECONDS", 0)
    session = machine.stores(ends_soon(machine.signs_in(someone)))
    with machine.sessions.lock():
        assert machine.identities().current().access_token == session.access_token
        with pytest.raises(BackendUnavailable) as caught:
            machine.identities().refresh()
        assert (caught.value.code, "Ctrl-Z" in caught.value.hint) == ("files.locked", True)
    assert machine.identities().refresh().access_token != session.access_token


# -- confirmation, renewal on request, bootstrap -----------------------------------------------------------------


def test_revoked_session_is_not_confirmed(machine: Machine, someone: Someone) -> None:
    session = machine.signs_in(someone)
    with AuthClient(machine.target) as client:
        client.sign_out(session.access_token, "local")
    identities = machine.identities()
    identity = identities.current()
    with pytest.raises(NotSignedIn) as caught:
        identities.confirm(identity)
    assert caught.value.code == "auth.session_revoked"


def test_confirmation_brings_the_address_of_now(machine: Machine, people: People, someone: Someone) -> None:
    machine.signs_in(someone)
    identities = machine.identities()
    identity = identities.current()
    people.sql("UPDATE auth.users SET email = 'new.' || email WHERE id = %s", someone.id)
    assert identities.confirm(identity).email == f"new.{someone.email}" == identities.current().email


def test_renewal_on_request(wired: Machine, wire: Wire, someone: Someone) -> None:
    session = wired.signs_in(someone)
    assert wired.identities().refresh().user_id == someone.id
    assert wired.session.refresh_token != session.refresh_token
    # A session that this command renewed by itself is not renewed again.
    wired.stores(ends_soon(wired.session))
    wire.requests.clear()
    identities = wired.identities()
    assert identities.current() == identities.refresh()
    assert wire.requests.count(REFRESH) == 1
    wired.sessions.forget()
    with pytest.raises(NotSignedIn) as caught:
        wired.identities().refresh()
    assert caught.value.code == "auth.not_signed_in"


def test_first_superuser_is_created_only_on_request(machine: Machine, people: People) -> None:
    email = f"root.{uuid4().hex}@example.com"
    machine = machine.on(as_superuser(machine.target, email, Secret("a-first-password")))
    assert (machine.identities().superuser(create=False), people.identities(email)) == (None, [])
    found = machine.identities().superuser(create=True)
    (identity,) = people.identities(email)
    assert found is not None
    assert (found.user_id, found.email) == (UUID(str(identity["id"])), email)
    assert people.signs_in(email, "a-first-password")
    for create in (True, False):
        again = machine.identities().superuser(create=create)
        assert again is not None
        assert again.user_id == found.user_id


def test_known_superuser_keeps_the_password(machine: Machine, people: People, someone: Someone) -> None:
    machine = machine.on(as_superuser(machine.target, someone.email, Secret("another-password")))
    with pytest.raises(NotSignedIn) as caught:
        machine.identities().superuser(create=True)
    assert caught.value.code == "auth.invalid_credentials"
    assert "another password" in caught.value.message
    assert people.signs_in(someone.email, OLD_PASSWORD)


def test_no_superuser_is_named(machine: Machine) -> None:
    with pytest.raises(NotSignedIn) as caught:
        machine.identities().superuser(create=True)
    assert caught.value.code == "auth.not_signed_in"


@pytest.mark.parametrize(("explicit", "code"), [(False, "auth.token_invalid"), (True, "")], ids=["found", "named"])
def test_env_file_of_a_folder_gets_no_token_of_another_service(
    wired: Machine, wire: Wire, someone: Someone, people: People, explicit: bool, code: str
) -> None:
    source = TargetSource(TargetKind.ENV_FILE, ".env", explicit=explicit)
    lured = wired.on(replace(wired.target, source=source))
    token = Secret(people.access_token(someone))
    if code:
        assert lured.refused(token) == code
        assert wire.requests == []
    else:
        assert lured.identities(token).current().user_id == someone.id
