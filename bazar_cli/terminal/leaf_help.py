"""Help of one command, in gh's manner: purpose, examples, what it requires, then the options."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bazar_cli.domain.authz.permissions import SEEDED_PLANS, Permission
from bazar_cli.domain.authz.spec import Access, FieldRule, Scope, Spec
from bazar_cli.domain.entities import Plan
from bazar_cli.terminal import streams
from bazar_cli.terminal.options import NAMES

if TYPE_CHECKING:
    from typer.core import TyperCommand

_MAX_WIDTH = 100
_INDENT = 2


@dataclass(frozen=True)
class LeafText:
    """What a command says of itself."""

    path: str
    """`bazar users create`."""
    body: Callable[..., Any]
    """The function whose docstring holds purpose and details."""
    spec: Spec
    examples: Sequence[str]
    parts: Mapping[str, Spec] = field(default_factory=dict[str, Spec])
    """What of a composite command asks the gate by itself."""


def leaf_help(text: LeafText, command: TyperCommand, environ: Mapping[str, str]) -> str:
    """Return the whole help text of a command."""
    width = min(_MAX_WIDTH, streams.columns(streams.results(), environ))
    documentation = inspect.cleandoc(text.body.__doc__ or "")
    purpose, _, details = documentation.partition("\n\n")
    params: list[Any] = list(command.params)
    arguments = [p for p in params if p.param_type_name == "argument"]
    options = [p for p in params if p.param_type_name == "option" and p.name not in NAMES]
    common = [p for p in params if p.param_type_name == "option" and p.name in NAMES]
    usage = " ".join([text.path, *(_argument(a) for a in arguments), "[OPTIONS]"])
    parts = [purpose, _section("EXAMPLES", [f"$ {e}" for e in text.examples]), _section("USAGE", [usage])]
    parts += [textwrap.fill(paragraph, width) for paragraph in details.split("\n\n")]
    parts.append("\n".join([*requirements(text.spec), *_of_parts(text.parts)]))
    parts.append(_definitions("ARGUMENTS", [(_argument(a), a.help or "") for a in arguments], width))
    parts.append(_definitions("OPTIONS", [(_option(o), o.help or "") for o in options], width))
    parts.append(
        _definitions(
            "COMMON OPTIONS", [*((_option(o), o.help or "") for o in common), ("-h, --help", "this text")], width
        )
    )
    return "\n\n".join(part for part in parts if part) + "\n"


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
        lines[0] += "; nothing where you name yourself"
    lines += [_added(name, rule) for name, rule in spec.fields.items()]
    if spec.bootstrap:
        lines.append("While no superuser exists: allowed to SUPERUSER_EMAIL")
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


def _argument(parameter: Any) -> str:
    name = str(parameter.metavar or parameter.name.upper().replace("_", "-"))
    name += "..." if parameter.nargs == -1 else ""
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any) -> str:
    names = sorted((o for o in parameter.opts), key=len)
    shown = ", ".join(names) if names[0].startswith("-") and not names[0].startswith("--") else f"    {names[0]}"
    if parameter.is_flag:
        return " / ".join([shown, *parameter.secondary_opts])
    return f"{shown} {parameter.metavar or 'VALUE'}"


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(" " * _INDENT + line for line in lines)]) if lines else ""


def _definitions(title: str, rows: Sequence[tuple[str, str]], width: int) -> str:
    if not rows:
        return ""
    column = max(len(name) for name, _ in rows) + 2 + _INDENT
    lines: list[str] = []
    for name, text in rows:
        wrapped = textwrap.wrap(text, max(20, width - column)) or [""]
        lines.append(f"{' ' * _INDENT}{name}".ljust(column) + wrapped[0])
        lines += [" " * column + more for more in wrapped[1:]]
    return "\n".join([title, *(line.rstrip() for line in lines)])
