"""The wrapper around every verb: it requires a spec, adds common options, and has one view for results."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from typer import Context as TyperContext

from bazar_cli.domain.authz.spec import Spec
from bazar_cli.terminal.options import DRY_RUN, Options, parameters_of
from bazar_cli.terminal.run import Context, Run
from bazar_cli.terminal.views.base import View

if TYPE_CHECKING:
    from bazar_cli.terminal.typer_lite import LiteCommand

T = TypeVar("T")
P = ParamSpec("P")
_CONTEXT = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=TyperContext)


@dataclass(frozen=True)
class Verb(Generic[T]):
    """A command as its module declares it."""

    spec: Spec
    view: View[T] | None
    examples: tuple[str, ...]
    body: Callable[..., int | None]
    parts: Mapping[str, Spec] = field(default_factory=dict[str, Spec])
    streams: bool = False
    logs: bool = False

    def command(self, path: str, environ: Mapping[str, str]) -> LiteCommand:
        """Return the Typer command that runs the body, as often as it is invoked.

        Its context has a `Start` as object. Parameters: `path` is how users call it; `environ` has the width of help.
        """
        from bazar_cli.terminal.leaf_help import command_help
        from bazar_cli.terminal.streams import results
        from bazar_cli.terminal.typer_lite import build

        common = [p for p in parameters_of(Options) if p.name != DRY_RUN or self.spec.writes]
        own, shared = _own(self.body)

        def callback(context: TyperContext, **values: Any) -> int | None:
            given = {p.name: values.pop(p.name) for p in common}
            for name, kind in shared.items():
                values[name] = kind(**{f.name: values.pop(f.name) for f in fields(kind)})
            start: Start = context.obj
            run: Run[T] = Run(self.spec, self.view, Options(**given), start.context, streams=self.streams)
            run.logs = self.logs
            start.begun(run)
            return self.body(run, **values)

        parameters = [_CONTEXT, *own, *common]
        callback.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
        callback.__annotations__ = {p.name: p.annotation for p in parameters}
        return build(callback, lambda: command_help(self.body.__module__, path, results(), environ))


@dataclass(frozen=True)
class Start:
    """What one run of a command gets: its context, and what is called with its Run before the body."""

    context: Context
    begun: Callable[[Run[Any]], None]


def _own(body: Callable[..., int | None]) -> tuple[list[inspect.Parameter], dict[str, type[Any]]]:
    """Return the parameters of a body, with the fields of its dataclasses of options, and these dataclasses."""
    own: list[inspect.Parameter] = []
    shared: dict[str, type[Any]] = {}
    for parameter in list(inspect.signature(body, eval_str=True).parameters.values())[1:]:
        kind = parameter.annotation
        if isinstance(kind, type) and is_dataclass(kind):
            shared[parameter.name] = kind
            own += parameters_of(kind)
        else:
            own.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    return own, shared


def command(
    spec: Spec,
    *,
    view: View[T] | None = None,
    examples: tuple[str, ...],
    parts: Mapping[str, Spec] | None = None,
    streams: bool = False,
    logs: bool = False,
) -> Callable[[Callable[Concatenate[Run[T], P], int | None]], Verb[T]]:
    """Declare a verb.

    Parameters: `spec` says what it requires, there is no default; `view` shows its results; `examples` are
    command lines for the help, each starting with `bazar`; `parts` names the parts of a composite command that need
    another Grant; `streams` says that results of any number are written, as JSON Lines by default and never as a table;
    `logs` says that it writes log lines also where no option asks for them.
    The body gets the Run and its own options, and returns an exit code or None for 0. A parameter
    whose type is a dataclass of options declares all of them.
    """

    def declare(body: Callable[Concatenate[Run[T], P], int | None]) -> Verb[T]:
        return Verb(spec, view, examples, body, parts or {}, streams, logs)

    return declare
