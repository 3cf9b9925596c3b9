"""A service serves the use case of its Grant and no other one."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

from bazar_cli import services
from bazar_cli.domain.authz.permissions import Permission
from bazar_cli.domain.authz.spec import Scope, Sealed, requires
from tests.support.people import an_operator, granted

OTHER = requires("tests.other", Permission.USERS_READ, scope=Scope.NONE)


def entries() -> Iterator[Any]:
    """Every function of a service that demands its Grant: it gets backends, Grant and more."""
    for found in pkgutil.walk_packages(services.__path__, f"{services.__name__}."):
        for name, function in inspect.getmembers(import_module(found.name), inspect.isfunction):
            takes_grant = list(inspect.signature(function).parameters)[1:2] == ["grant"]
            if function.__module__ == found.name and takes_grant and "grant.demand(" in inspect.getsource(function):
                yield pytest.param(function, id=f"{found.name.partition('services.')[2]}.{name}")


def enter(entry: Callable[..., object]) -> None:
    """Call it with a Grant for another use case, and with nothing else."""
    needed = [p.name for p in inspect.signature(entry).parameters.values() if p.default is p.empty]
    entered = entry(**{**dict.fromkeys(needed), "grant": granted(an_operator(), OTHER)})
    if inspect.isgenerator(entered):
        next(entered)


@pytest.mark.parametrize("entry", [*entries()])
def test_a_grant_of_another_use_case_opens_nothing(entry: Callable[..., object]) -> None:
    with pytest.raises(Sealed, match=r"a Grant for tests\.other was used for "):
        enter(entry)
