"""The rows of `bazar_cli/terminal/commands.tsv`, taken from the live commands.

`bazar_cli/terminal/command_texts.py` reads them and says what each kind of row means.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from bazar_cli.domain.authz.permissions import SEEDED_PLANS, Permission
from bazar_cli.domain.authz.spec import Access, FieldRule, Scope, Spec
from bazar_cli.domain.entities import Plan
from bazar_cli.domain.texts import Verbatim
from bazar_cli.registry import Leaf
from bazar_cli.terminal.command import Verb
from bazar_cli.terminal.options import Options
from tests.support.tree import ALL, COMMON_OPTIONS, command, verb

_DYNAMIC = {"--profile": ":profiles", "--fields": ":fields"}
_ARGUMENTS = {
    "bazar_cli.commands.config.profiles.remove": ":profiles",
    "bazar_cli.commands.config.profiles.use": ":profiles",
    "bazar_cli.commands.help": ":topics",
}
"""Commands whose argument has values that only the run knows."""


def content() -> str:
    """Return the whole file: the options of every command, then a section for each command."""
    writing = next((words, leaf) for words, leaf in ALL.values() if verb(leaf).spec.writes)
    options = [row for name, row in _options(*writing) if name in COMMON_OPTIONS]
    sections = [_section("common", options)]
    sections += [_section(f"command\t{name}", _command(words, leaf)) for name, (words, leaf) in ALL.items()]
    return "\n".join(sections)


def _section(first: str, rows: Sequence[str]) -> str:
    assert "" not in rows
    return "".join(f"{line}\n" for line in (first, *rows))


def _command(words: tuple[str, ...], leaf: Leaf) -> list[str]:
    found = verb(leaf)
    purpose, _, details = inspect.cleandoc(found.body.__doc__ or "").partition("\n\n")
    rows = [_row("purpose", purpose), *(_row("example", example) for example in found.examples)]
    rows += [_row("details", paragraph.replace("\n", " ")) for paragraph in details.split("\n\n") if paragraph]
    rows += [_row("requires", line) for line in [*requirements(found.spec), *_of_parts(found.parts)]]
    kinds = _kinds(found)
    params: list[Any] = list(command(words, leaf).params)
    for argument in params:
        if argument.param_type_name == "argument":
            shown = _shown(argument)
            values = _ARGUMENTS.get(leaf.module) or _values(kinds[argument.name], shown)
            rows.append(_row("argument", shown, _help(argument), values))
    options = dict(_options(words, leaf))
    rows += [row for name, row in options.items() if name not in COMMON_OPTIONS]
    rows += [_output_of_stream(options["output"], found)] if found.streams else []
    rows += [_row("fields", " ".join(found.view.fields))] if found.view is not None else []
    return [*rows, *(["writes"] if found.spec.writes else [])]


def _options(words: tuple[str, ...], leaf: Leaf) -> Iterator[tuple[str, str]]:
    """Yield each option's name in Python, and its row."""
    kinds = _kinds(verb(leaf))
    params: list[Any] = list(command(words, leaf).params)
    for option in params:
        if option.param_type_name == "option":
            no_row_says = option.multiple, option.secondary_opts, option.hidden
            assert not any(no_row_says), option.opts
            metavar = [] if option.is_flag else [option.metavar or "VALUE"]
            kind, known = kinds[option.name], _DYNAMIC.get(option.opts[0])
            values = "" if option.is_flag else known or _values(kind, option.metavar or "")
            yield option.name, _row("option", " ".join([*option.opts, *metavar]), _help(option), values)


def _output_of_stream(common: str, found: Verb[Any]) -> str:
    """Return the row of -o of a command with results of any number: its default, and the formats that it has."""
    assert found.view is not None, "a stream of results has a view"
    kind, spellings, _help, values = common.split("\t")
    without = {"table", *(() if found.view.identifier else ("ids",))}
    first, *others = sorted((value for value in values.split() if value not in without), key=lambda v: v != "jsonl")
    return _row(
        kind,
        spellings,
        f"{', '.join([f'{first} (default)', *others[:-1]])} or {others[-1]}",
        " ".join([first, *others]),
    )


def _help(parameter: Any) -> str:
    assert parameter.help, f"{parameter.name} has no help"
    return str(parameter.help)


def _row(*columns: str) -> str:
    row = "\t".join(columns).rstrip("\t")
    assert all(column.isprintable() for column in columns), f"a tab, line break or control character in {row!r}"
    return row


def _kinds(found: Verb[Any]) -> dict[str, Any]:
    """The types of a command's parameters, by their names in Python."""
    own = get_type_hints(found.body)
    shared = [kind for kind in own.values() if isinstance(kind, type) and is_dataclass(kind)]
    return {name: k for kind in (Options, *shared) for name, k in get_type_hints(kind).items()} | own


def _values(annotation: Any, shown: str) -> str:
    inner = [part for part in get_args(annotation) if part is not NoneType]
    if inner:
        return _values(inner[0], shown)
    # Where `-` is standard input or output, a file is no Path.
    if issubclass(annotation, Path) or (annotation is Verbatim and "FILE" in shown):
        return ":file"
    if not issubclass(annotation, Enum):
        return ""
    values = [str(member.value) for member in annotation]
    assert not any(" " in value for value in values)
    return " ".join(values)


def _shown(argument: Any) -> str:
    name = str(argument.metavar or argument.name.upper().replace("_", "-"))
    name += "..." if argument.nargs == -1 else ""
    return name if argument.required else f"[{name}]"


def requirements(spec: Spec) -> list[str]:
    """Return what a command requires, one sentence a line."""
    if spec.access is Access.PUBLIC:
        return [f"Requires no sign-in: {spec.reason}"]
    if spec.access is Access.SIGNED_IN:
        return ["Requires a sign-in"]
    names = sorted(spec.permissions)
    lines = [f"Requires {', '.join(names)} ({_plans(names)})"]
    if spec.scope is Scope.PLATFORM:
        lines[0] += ", as a superuser"
    if spec.oneself:
        lines[0] += "; nothing for yourself"
    lines += [_added(name, rule) for name, rule in spec.fields.items()]
    if spec.bootstrap:
        lines.append("While no superuser exists, SUPERUSER_EMAIL may run it")
    return lines


def _of_parts(parts: Mapping[str, Spec]) -> list[str]:
    return [
        f"{what[0].upper()}{what[1:]} {line[0].lower()}{line[1:]}"
        for what, spec in parts.items()
        for line in requirements(spec)
    ]


def _added(name: str, rule: FieldRule) -> str:
    what = [rule.permission.value] if rule.permission else []
    what += ["a superuser"] if rule.platform else []
    free = " or ".join(str(getattr(v, "value", v)) for v in rule.free if v not in {None, False})
    return f"--{name.replace('_', '-')}{f' other than {free}' if free else ''} also requires {' and '.join(what)}"


def _plans(permissions: Sequence[Permission]) -> str:
    """The plans that have all of them as delivered; an operator may have changed the table since."""
    having = [plan for plan in Plan if set(permissions) <= SEEDED_PLANS[plan]]
    return ", ".join(plan.value.capitalize() for plan in having) or "no plan"
