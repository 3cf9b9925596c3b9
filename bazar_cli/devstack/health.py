"""The state of the embedded stack's parts. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bazar_cli.adapters.polling import poll
from bazar_cli.devstack import external
from bazar_cli.devstack.paths import StackPaths
from bazar_cli.devstack.postgres import EmbeddedPostgres
from bazar_cli.devstack.service import LOOPBACK, BackgroundService
from bazar_cli.domain.text_enum import TextEnum

AUTH_PREFIX = "/auth/v1"
_HEALTH_SECONDS = 2.0


class ComponentState(TextEnum):
    """The state of a part of the stack."""

    RUNNING = "running"
    STOPPED = "stopped"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True)
class ComponentStatus:
    """One part of the stack; `address` holds no secret."""

    name: str
    state: ComponentState
    pid: int | None
    address: str | None
    since: datetime | None
    log: Path | None


def answers_within(port: int, seconds: float) -> bool:
    """Say whether the Auth service at `port` answers within `seconds`."""
    return bool(poll(lambda: _answers(port), seconds=seconds, pause=0.1))


def auth_status(auth: BackgroundService) -> ComponentStatus:
    """Return the state of the Auth service."""
    pid, state = auth.pid(), auth.state()
    if pid is None:
        found = ComponentState.STOPPED
    elif state is not None and _answers(state.port):
        found = ComponentState.RUNNING
    else:
        found = ComponentState.UNHEALTHY
    address = None if state is None else state.url + AUTH_PREFIX
    return ComponentStatus("auth", found, pid, address, None if state is None else state.started_at, auth.log)


def postgres_status(postgres: EmbeddedPostgres, paths: StackPaths) -> ComponentStatus:
    """Return the state of the embedded Postgres."""
    pid = postgres.pid()
    if pid is None:
        found = ComponentState.STOPPED
    else:
        found = ComponentState.RUNNING if postgres.is_ready() else ComponentState.UNHEALTHY
    return ComponentStatus(
        "postgres",
        found,
        pid,
        None if pid is None else str(paths.socket_dir),
        None if pid is None else postgres.since(),
        paths.postgres_log,
    )


def external_status(url: str) -> ComponentStatus:
    """Return the state of an external Postgres."""
    reachable = external.is_reachable(url)
    found = ComponentState.RUNNING if reachable else ComponentState.UNHEALTHY
    return ComponentStatus("postgres", found, None, external.address(url), None, None)


def _answers(port: int) -> bool:
    import httpx

    from bazar_cli.adapters.supabase.transport import open_client

    with open_client(tls=False, seconds=_HEALTH_SECONDS) as http:
        try:
            return http.get(f"http://{LOOPBACK}:{port}{AUTH_PREFIX}/health").is_success
        except httpx.HTTPError:
            return False
