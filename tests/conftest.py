"""Fixtures of all tests: one Postgres server per run, one database and one Auth service per worker.

With BAZAR_TEST_SUPABASE_URL, BAZAR_TEST_SUPABASE_KEY and BAZAR_TEST_DATABASE_URL set, `target` is that one
instead, and only the end-to-end tests run, those with the marker `live`: see docs/testing.md.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bazar_cli.devstack.auth.keys import AuthKeys, generate_keys
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target, TargetKind, TargetSource
from tests.support import via_api
from tests.support.auth_service import environment_of, running_auth_service
from tests.support.external_target import clean, make_ready, named_target
from tests.support.people import RUN, RUN_VARIABLE, People, Someone, an_address
from tests.support.postgres import TEMPLATE, ScratchPostgres, scratch_database

_URL = "BAZAR_TEST_POSTGRES"
"""Hands the server of the run from the first process to its workers."""
_OWNED = {"postgres_url", "database_url", "auth_keys", "auth_url", "embedded_target", "fresh_database"}
"""Fixtures of servers that the suite makes for itself. Another target has no such servers."""
_OPT_IN = ("long", "debian", "packages")
"""Markers of tests that run only where `-m` names them."""
_WHOLE = ("unit", "contracts", "services", "cli/doctor")
"""Folders whose modules run in one worker each: their tests are short, and share what their module makes.

Tests of other folders are dealt out one by one: they are long, and are left to the end of the run.
"""
_server = pytest.StashKey[ScratchPostgres]()
_another = pytest.StashKey[Target]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the server, or prepare the other target, in the controller."""
    _take_signals()
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    os.environ[RUN_VARIABLE] = RUN
    another = named_target()
    if another is not None:
        make_ready(another)
        config.stash[_another] = another
        return
    if _URL in os.environ:
        return  # a run that a test of another run starts
    server = ScratchPostgres(in_memory=True)
    os.environ[_URL] = server.start()
    config.stash[_server] = server


def pytest_xdist_auto_num_workers() -> int:
    """Two workers for each core: many tests wait for a timeout, a process or a database."""
    return (os.cpu_count() or 1) * 2


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while tests are collected, and exempt them later: they live as long as the process."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _take_signals() -> None:
    """Stop ignoring signals that `nohup` or a shell's `&` ignores: commands would inherit that and ignore Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server, or clean the other target, after the last worker."""
    server, another = config.stash.get(_server, None), config.stash.get(_another, None)
    if server is not None:
        server.stop()
    if another is not None:
        clean(another)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Group and spread tests; leave out those that another target cannot run, and of `_OPT_IN` what `-m` leaves out."""
    for item in items:
        if item.get_closest_marker("spread") and not in_square(item):
            item.add_marker("long")
        module = item.path.relative_to(Path(__file__).parent).with_suffix("")
        if module.as_posix().startswith(_WHOLE) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(module.as_posix()))
    another = named_target() is not None
    unwanted = [marker for marker in _OPT_IN if marker not in (config.option.markexpr or "")]
    left_out = [
        item
        for item in items
        if (another and not _is_end_to_end(item)) or any(item.get_closest_marker(marker) for marker in unwanted)
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    if via_api.is_on():
        for item in items:
            reason = next((why for name, why in via_api.DIRECT_ONLY.items() if item.nodeid.startswith(name)), None)
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


def in_square(item: pytest.Item) -> bool:
    """Say whether a cell of a product of parameters is one of those that stand for all, as in a Latin square.

    They have each combination of the other axes once, and each value of the smallest axis as often as any other.
    """
    assert isinstance(item, pytest.Function)
    axes = [_axis(*mark.args) for mark in item.iter_markers("parametrize")]
    places = [cells.index([item.callspec.params[name] for name in names]) for names, cells in axes]
    return sum(places) % min(len(cells) for _, cells in axes) == 0


def _axis(names: str | Sequence[str], values: Iterable[Any]) -> tuple[list[str], list[list[Any]]]:
    """The names of one `parametrize`, and what they have in each of its cells."""
    split = names.split(",") if isinstance(names, str) else list(names)
    given = [getattr(value, "values", value) if hasattr(value, "marks") else value for value in values]
    return split, [list(value) if len(split) > 1 else [value] for value in given]


def _is_end_to_end(item: pytest.Item) -> bool:
    return item.get_closest_marker("live") is not None and item.get_closest_marker("embedded") is None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail an end-to-end test that uses servers of the suite: it would not run elsewhere."""
    owned = _OWNED.intersection(getattr(item, "fixturenames", ()))
    if owned and _is_end_to_end(item):
        pytest.fail(f"marked live, but it uses {', '.join(sorted(owned))}: mark it embedded", pytrace=False)


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The server of the run: URL of its maintenance database."""
    return os.environ[_URL]


@pytest.fixture(scope="session")
def database_url(postgres_url: str) -> Generator[str]:
    """This worker's migrated database, with the tables of the Auth service."""
    with scratch_database(postgres_url, TEMPLATE) as url:
        yield url


@pytest.fixture(scope="session")
def auth_keys() -> AuthKeys:
    """The keys of this worker's Auth service."""
    return generate_keys()


@pytest.fixture(scope="session")
def auth_url(auth_keys: AuthKeys, database_url: str) -> Generator[str]:
    """This worker's Auth service, without `/auth/v1`."""
    with running_auth_service(environment_of(auth_keys, database_url)) as url:
        yield url


@pytest.fixture(scope="session")
def embedded_target(auth_url: str, auth_keys: AuthKeys, database_url: str) -> Target:
    """This worker's own database and Auth service as one target."""
    source = TargetSource(TargetKind.ENVIRONMENT, "environment")
    return Target(source, auth_url, Secret(auth_keys.secret_key), Secret(database_url))


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The target of the tests: the one that three variables name, else this worker's own."""
    return named_target() or request.getfixturevalue("embedded_target")


@pytest.fixture(scope="module")
def people(target: Target) -> Generator[People]:
    """The users and organizations of this worker's target."""
    with People(target) as found:
        yield found
        if named_target() is None:
            # What a test may leave to other modules: leases of killed commands, for which `doctor --fix` waits, and a
            # changed plan table.
            found.leases_run_out()
            found.seed_plans()


@pytest.fixture
def root(people: People) -> Someone:
    """A superuser on Premium, known to both systems."""
    return people.known_superuser()


@pytest.fixture
def fresh_database(postgres_url: str) -> Generator[Callable[..., str]]:
    """Make databases for one test: empty, or `migrated=True`."""
    with ExitStack() as stack:

        def make(*, migrated: bool = False) -> str:
            return stack.enter_context(scratch_database(postgres_url, TEMPLATE if migrated else None))

        yield make


@pytest.fixture
def unique_email() -> Callable[[str], str]:
    """Make addresses that no other test uses."""
    return an_address
