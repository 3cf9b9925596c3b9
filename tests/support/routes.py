"""Every use case that the HTTP API serves, found in the modules of the domain."""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

from bazar_cli import domain
from bazar_cli.domain.authz.spec import Spec
from bazar_cli.domain.route import Route


def specs() -> list[Spec]:
    """Return all specs of the domain."""
    modules = [import_module(m.name) for m in walk_packages(domain.__path__, f"{domain.__name__}.")]
    found = {id(v): v for module in modules for v in vars(module).values() if isinstance(v, Spec)}
    return list(found.values())


def routed() -> list[tuple[Spec, Route]]:
    """Return the specs with a route, by their path."""
    found = [(spec, spec.route) for spec in specs() if spec.route is not None]
    return sorted(found, key=lambda pair: (pair[1].path, pair[1].method))
