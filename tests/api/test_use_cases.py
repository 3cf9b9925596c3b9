"""The table of use cases: each spec with a route has its service, the one that its command calls."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

from bazar_cli.api.app import create_app
from bazar_cli.api.openapi import document
from bazar_cli.api.use_cases import BINDINGS
from bazar_cli.terminal.redact import Redactor
from tests.support.routes import routed
from tests.support.tree import ALL, verb

_RUNNERS = {"perform", "show_pages", "export"}
_OWN_ACCOUNT = {"auth.login", "auth.logout", "auth.status", "auth.refresh", "auth.token", "auth.password"}
"""A command keeps its session in a store, and a server stores none: their services differ."""


def services_of(module: ModuleType) -> Iterator[Any]:
    """Yield the services that a command hands to its run."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _RUNNERS:
            service = node.args[0]
            if isinstance(service, ast.Attribute) and isinstance(service.value, ast.Name):
                yield getattr(vars(module)[service.value.id], service.attr)


def test_each_spec_with_a_route_is_bound_once() -> None:
    bound = [binding.spec for binding in BINDINGS]
    for spec, _ in routed():
        assert sum(spec is other for other in bound) == 1, spec.name
    assert len(bound) == len(routed())


def test_server_and_command_call_the_same_service() -> None:
    commands = {id(verb(leaf).spec): import_module(leaf.module) for _, leaf in ALL.values()}
    compared = 0
    for binding in BINDINGS:
        if binding.spec.name not in _OWN_ACCOUNT:
            assert list(services_of(commands[id(binding.spec)])) == [binding.service], binding.spec.name
            compared += 1
    assert compared == len(BINDINGS) - len(_OWN_ACCOUNT) - 1  # `auth refresh` has two specs


def test_server_does_not_start_without_a_service() -> None:
    with pytest.raises(RuntimeError, match=r"no service is bound for users\.get$"):
        create_app(Mock(), lambda: Redactor({}), bindings=tuple(b for b in BINDINGS if b.spec.name != "users.get"))


def test_document_says_what_each_route_requires() -> None:
    paths = document(BINDINGS)["paths"]
    for binding in BINDINGS:
        found = paths[f"/api/v1{binding.route.path}"][binding.route.method.lower()]
        for permission in binding.spec.permissions:
            assert f"`{permission.value}`" in found["description"]
        assert ("Public" in found["description"]) == ("security" not in found) == (not binding.needs_token)
