"""The embedded stack: a real Postgres and an Auth service with Supabase's wire protocol, for development.

Every function takes the data folder, so that several stacks can run side by side. A function that changes a stack
holds its lock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import bazar_cli
from bazar_cli.adapters.files import exclusive_lock, file_errors, is_folder, private_folder
from bazar_cli.devstack import credentials as credential_file
from bazar_cli.devstack import external, health
from bazar_cli.devstack import logs as log_reader
from bazar_cli.devstack.credentials import Credentials
from bazar_cli.devstack.health import AUTH_PREFIX, ComponentState, ComponentStatus
from bazar_cli.devstack.paths import StackPaths
from bazar_cli.devstack.postgres import EmbeddedPostgres
from bazar_cli.devstack.service import BackgroundService, ServiceConfig, ServiceState
from bazar_cli.domain.errors import BackendUnavailable, Conflict, UsageError

if TYPE_CHECKING:
    from bazar_cli.devstack.auth.mails import Mail

_AUTH_PROGRAM = (sys.executable, "-m", "bazar_cli.devstack.service_main")
_EMBEDDED = "embedded"
_ANSWER_SECONDS = 5.0
"""A running Auth service that does not answer within this time is restarted."""


@dataclass(frozen=True)
class StackStatus:
    """The parts of the stack of one data folder."""

    data_dir: Path
    components: tuple[ComponentStatus, ...]

    @property
    def running(self) -> bool:
        """Whether every part runs and answers."""
        return all(part.state is ComponentState.RUNNING for part in self.components)


@dataclass(frozen=True)
class StopReport:
    """The parts that were running and were stopped."""

    postgres: bool
    auth: bool


@dataclass(frozen=True)
class ResetReport:
    """The parts that a reset stopped, and whether it deleted data."""

    stopped: StopReport
    data_deleted: bool


@dataclass(frozen=True)
class Stack:
    """A running stack and how to connect to it. Its repr shows no secret."""

    supabase_url: str
    service_key: str = field(repr=False)
    """The service key in Supabase's `sb_secret_` form."""
    anon_key: str = field(repr=False)
    """The anon key in Supabase's `sb_publishable_` form."""
    database_url: str = field(repr=False)
    superuser_email: str
    superuser_password: str = field(repr=False)
    auth_pid: int
    postgres_pid: int | None
    """None with an external database."""
    data_dir: Path
    already_running: bool

    def environment(self) -> dict[str, str]:
        """Return the target as the environment variables of the command-line contract; holds secrets."""
        return {
            "SUPABASE_URL": self.supabase_url,
            "SUPABASE_KEY": self.service_key,
            "SUPABASE_ANON_KEY": self.anon_key,
            "DATABASE_URL": self.database_url,
            "SUPERUSER_EMAIL": self.superuser_email,
            "SUPERUSER_PASSWORD": self.superuser_password,
        }


class _Parts:
    """The paths and processes of one stack."""

    def __init__(self, data_dir: Path) -> None:
        self.paths = StackPaths.for_data_dir(data_dir)
        self.postgres = EmbeddedPostgres(self.paths)
        self.auth = BackgroundService(self.paths.auth, "auth", _AUTH_PROGRAM)

    def database_url(self, credentials: Credentials) -> str:
        return credentials.database_url or self.postgres.url()


@contextmanager
def _changing(parts: _Parts, notify: Callable[[str], None]) -> Generator[None]:
    """Hold the stack's lock, and translate errors of its files."""
    lock = exclusive_lock(parts.paths.lock, lambda: notify("Waiting for another command that changes the stack"))
    with lock, file_errors(parts.paths.local):
        yield


# -- changing the stack -----------------------------------------------------------------------------------


def start(
    data_dir: Path,
    *,
    superuser_email: str | None,
    superuser_password: str | None,
    database_url: str | None,
    notify: Callable[[str], None],
) -> Stack:
    """Start the stack, or return the running one; waits for another start.

    Parameters: a new stack gets the given superuser, or a generated one; with `database_url` the Auth service uses that
    Postgres, and waits for it for 60 s at most.
    Raises: UsageError `local.database_url`; Conflict `local.other_database`, `local.orphaned_data`,
    `local.credentials_unreadable`; BackendUnavailable `local.postgres_failed`, `local.auth_failed`,
    `local.database_unavailable`; UsageError `local.extra_missing`; StoreUnusable `files.*`; as `external.wait_for`.
    """
    if database_url is not None:
        external.check_url(database_url)
    parts = _Parts(data_dir)
    private_folder(parts.paths.local)
    with _changing(parts, notify):
        _refuse_other_database(parts, database_url)
        credentials = _settle_credentials(parts, superuser_email, superuser_password, database_url, notify)
        postgres_started = False
        if database_url is not None:
            external.wait_for(database_url, notify)
        else:
            postgres_started = _start_postgres(parts, credentials, notify)
        state, auth_started = _start_auth(parts, credentials, notify)
        already = not (postgres_started or auth_started)
        return _stack(parts, credentials, state, already_running=already)


def stop(data_dir: Path) -> StopReport:
    """Stop the Auth service and the embedded Postgres, also with clients connected."""
    parts = _Parts(data_dir)
    if not is_folder(parts.paths.local):
        return StopReport(postgres=False, auth=False)
    with _changing(parts, lambda _text: None):
        auth = parts.auth.stop()
        return StopReport(postgres=parts.postgres.stop(), auth=auth)


def reset(data_dir: Path, notify: Callable[[str], None]) -> ResetReport:
    """Stop the stack and delete the embedded data; the next start uses the same keys and superuser.

    An external database is not changed. Credentials that cannot be read are deleted with the data.
    """
    parts = _Parts(data_dir)
    private_folder(parts.paths.local)
    with _changing(parts, notify):
        try:
            stored = credential_file.load(parts.paths.credentials)
        except Conflict as problem:
            notify(f"{problem.message}; the next start makes new ones")
            parts.paths.credentials.unlink(missing_ok=True)
            stored = None
        auth = parts.auth.stop()
        stopped = StopReport(postgres=parts.postgres.stop(immediately=True), auth=auth)
        if stored is not None and stored.database_url is not None:
            address = external.address(stored.database_url)
            notify(f"The database at {address} is external and is not changed")
        return ResetReport(stopped, data_deleted=parts.postgres.drop())


def remember_superuser(data_dir: Path, email: str, password: str) -> None:
    """Store a superuser password after a sign-in with it succeeded; another address is ignored.

    `start` does not store a given password, because a wrong one would lock the owner out.
    """
    parts = _Parts(data_dir)
    if not is_folder(parts.paths.local):
        return
    with _changing(parts, lambda _text: None):
        stored = credential_file.load(parts.paths.credentials)
        if stored is not None and stored.superuser_email.casefold() == email.casefold():
            credential_file.save(parts.paths.credentials, replace(stored, superuser_password=password))


# -- reading ----------------------------------------------------------------------------------------------


def status(data_dir: Path) -> StackStatus:
    """Return the state of each part. Raises: StoreUnusable `files.unwritable`."""
    parts = _Parts(data_dir)
    with file_errors(parts.paths.local):
        stored = credential_file.load(parts.paths.credentials)
        if stored is not None and stored.database_url is not None:
            database = health.external_status(stored.database_url)
        else:
            database = health.postgres_status(parts.postgres, parts.paths)
        return StackStatus(parts.paths.data_dir, (database, health.auth_status(parts.auth)))


def environment(data_dir: Path) -> dict[str, str]:
    """Return the running stack's target as environment variables; holds secrets.

    Raises: BackendUnavailable `local.not_running`.
    """
    return _running(_Parts(data_dir)).environment()


def logs(data_dir: Path, component: str | None, lines: int, *, follow: bool) -> Iterator[str]:
    """Yield the last lines of one component's log, or of all; with `follow` new ones until the caller stops.

    Raises: UsageError `local.unknown_component`.
    """
    parts = _Parts(data_dir)
    files = {"postgres": parts.paths.postgres_log, "auth": parts.auth.log}
    if component is not None and component not in files:
        raise UsageError(
            "local.unknown_component",
            f"the stack has no component {component!r}",
            hint=f"choose one of: {', '.join(files)}",
        )
    chosen = files if component is None else {component: files[component]}
    return log_reader.read(chosen, lines, follow=follow)


def mails(data_dir: Path) -> list[Mail]:
    """Return the mails that the Auth service would have sent.

    Raises: BackendUnavailable `local.not_running`, `local.database_unavailable`.
    """
    import psycopg

    from bazar_cli.devstack.auth.mails import list_mails

    try:
        return list_mails(_running(_Parts(data_dir)).database_url)
    except psycopg.Error as error:
        raise BackendUnavailable(
            "local.database_unavailable",
            "the stack's database does not answer",
            hint="start it with `bazar local start`",
        ) from error


# -- steps of a start -------------------------------------------------------------------------------------


def _database_name(database_url: str | None) -> str:
    return _EMBEDDED if database_url is None else external.address(database_url)


def _refuse_other_database(parts: _Parts, database_url: str | None) -> None:
    running = parts.auth.state()
    if running is None:
        return
    now, wanted = running.label.rpartition(" ")[0], _database_name(database_url)
    if now != wanted:
        raise Conflict(
            "local.other_database",
            f"the stack runs with another database: {now}, not {wanted}",
            hint="run `bazar local stop`, then start it again",
        )


def _settle_credentials(
    parts: _Parts,
    email: str | None,
    password: str | None,
    database_url: str | None,
    notify: Callable[[str], None],
) -> Credentials:
    """Load or make the credentials, and store changes; refuse the data of another stack."""
    stored = credential_file.load(parts.paths.credentials)
    fresh = database_url is None and not parts.postgres.has_data()
    if stored is None:
        in_use = to_store = credential_file.create(email, password)
    elif fresh and (email is not None or password is not None):
        # Without data there is no superuser yet, so the given one is stored.
        given = credential_file.create(email or stored.superuser_email, password)
        to_store = replace(stored, superuser_email=given.superuser_email, superuser_password=given.superuser_password)
        in_use = to_store
    else:
        to_store = stored
        in_use, notice = credential_file.with_superuser(stored, email, password)
        if notice:
            notify(notice)
    if database_url is None and not fresh and parts.postgres.stack_id() != to_store.stack_id:
        raise Conflict(
            "local.orphaned_data",
            f"the data in {parts.paths.data} belong to other credentials than {parts.paths.credentials}",
            hint="restore that file, or start over with empty data: `bazar local reset`",
        )
    to_store = replace(to_store, database_url=database_url)
    if to_store != stored:
        credential_file.save(parts.paths.credentials, to_store)
    return replace(in_use, database_url=database_url)


def _start_postgres(parts: _Parts, credentials: Credentials, notify: Callable[[str], None]) -> bool:
    if not parts.postgres.is_ready():
        notify("Starting Postgres" if parts.postgres.has_data() else "Creating a Postgres data folder")
    return parts.postgres.start(stack_id=credentials.stack_id)


def _start_auth(parts: _Parts, credentials: Credentials, notify: Callable[[str], None]) -> tuple[ServiceState, bool]:
    config = _auth_config(parts, credentials)
    if parts.auth.pid() is None:
        notify("Starting the Auth service")
    state, started = parts.auth.start(config)
    if started:
        return state, True
    same = state.label == config.label and state.version == bazar_cli.__version__
    if same and health.answers_within(state.port, _ANSWER_SECONDS):
        return state, False
    notify("Restarting the Auth service")
    parts.auth.stop()
    return parts.auth.start(config)


def _auth_config(parts: _Parts, credentials: Credentials) -> ServiceConfig:
    keys = credentials.keys
    return ServiceConfig(
        environ={
            "GOTRUE_DB_DATABASE_URL": parts.database_url(credentials),
            "GOTRUE_JWT_SECRET": keys.jwt_secret,
            "GOTRUE_JWT_KEYS": keys.jwt_keys,
            "GOTRUE_JWT_EXP": "3600",
            "GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL": "10",
            "BAZAR_AUTH_ANON_KEY": keys.anon_key,
            "BAZAR_AUTH_SERVICE_KEY": keys.service_key,
            "BAZAR_AUTH_PUBLISHABLE_KEY": keys.publishable_key,
            "BAZAR_AUTH_SECRET_KEY": keys.secret_key,
        },
        urls={"API_EXTERNAL_URL": AUTH_PREFIX, "GOTRUE_JWT_ISSUER": AUTH_PREFIX, "GOTRUE_SITE_URL": ""},
        label=f"{_database_name(credentials.database_url)} {credentials.stack_id}",
    )


def _stack(parts: _Parts, credentials: Credentials, state: ServiceState, *, already_running: bool) -> Stack:
    return Stack(
        supabase_url=state.url,
        service_key=credentials.keys.secret_key,
        anon_key=credentials.keys.publishable_key,
        database_url=parts.database_url(credentials),
        superuser_email=credentials.superuser_email,
        superuser_password=credentials.superuser_password,
        auth_pid=state.pid,
        postgres_pid=None if credentials.database_url is not None else parts.postgres.pid(),
        data_dir=parts.paths.data_dir,
        already_running=already_running,
    )


def _running(parts: _Parts) -> Stack:
    with file_errors(parts.paths.local):
        stored = credential_file.load(parts.paths.credentials)
        state = parts.auth.state()
        up = stored is not None and (stored.database_url is not None or parts.postgres.pid() is not None)
    if stored is None or state is None or not up:
        raise BackendUnavailable(
            "local.not_running", "the embedded stack is not running", hint="start it with `bazar local start`"
        )
    return _stack(parts, stored, state, already_running=True)
