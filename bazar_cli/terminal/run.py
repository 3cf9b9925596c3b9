"""What a verb works with: its target, identity, gate and systems, opened on use, and its output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bazar_cli.domain.authz.spec import Access, Grant, Spec
from bazar_cli.domain.consent import ConsentNeeded, Impact, with_consent
from bazar_cli.domain.errors import BazarError, Refused, UsageError
from bazar_cli.domain.page import MAX_LIMIT, Page
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.texts import normalized
from bazar_cli.terminal import actions
from bazar_cli.terminal.hints import with_target
from bazar_cli.terminal.options import Options
from bazar_cli.terminal.output import Format, Renderer
from bazar_cli.terminal.prompt import Prompter, secret_from_stdin
from bazar_cli.terminal.redact import Redactor
from bazar_cli.terminal.streams import say
from bazar_cli.terminal.views.base import View

if TYPE_CHECKING:
    from bazar_cli.adapters.config.target import TargetChoice
    from bazar_cli.domain.target import Target
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate
    from bazar_cli.services.gate.identities import Identities, SignInSettings

T = TypeVar("T")
R = TypeVar("R")
Request = TypeVar("Request")


@dataclass(frozen=True)
class Context:
    """What one process gives its command."""

    environ: Mapping[str, str]
    request_id: str
    redactor: Redactor


class Run(Generic[T]):
    """One run of one command whose results are shown by a `View[T]`."""

    def __init__(self, spec: Spec, view: View[T] | None, options: Options, context: Context) -> None:
        environ = context.environ
        self.spec = spec
        self.options = options
        self.environ = environ
        self.request_id = context.request_id
        self.redactor = context.redactor
        self.prompter = Prompter(environ, no_input=options.no_input)
        self.on_end: Callable[[int, str], None] = lambda _code, _error: None
        self._held: list[str] = []
        self._view = view
        keeps_text = view is not None and view.for_shells and options.output is None and options.fields is None
        chosen = Format.TABLE if keeps_text else _format(options, environ)
        self._renderer = Renderer(chosen, _fields(options), environ)
        if view is not None:
            self._renderer.check(view)

    # -- target, identity, systems ------------------------------------------------------------------------

    @cached_property
    def choice(self) -> TargetChoice:
        """Which target the flags name."""
        from bazar_cli.services.config import choose

        return choose(self.options.profile, self.options.env_file)

    @cached_property
    def target(self) -> Target:
        """The target of this command. Raises: UsageError `target.*`."""
        from bazar_cli.services.config import target_of

        return target_of(
            self.choice, self.environ, current_folder(), self.redactor.remember_values, self.warn_of_source
        )

    @cached_property
    def sign_in(self) -> SignInSettings:
        """What this process brings for signing in."""
        from bazar_cli.services.gate.identities import SignInSettings

        token = self.environ.get("BAZAR_TOKEN")
        return SignInSettings(self.environ, Secret(token) if token else None, prompt_possible=self.prompter.possible)

    @cached_property
    def identities(self) -> Identities:
        """Finds and proves who is asking."""
        from bazar_cli.services.gate.identities import Identities

        return Identities(self.target, self.sign_in)

    @cached_property
    def backends(self) -> Backends:
        """Both systems of the target, opened on use."""
        from bazar_cli.services.gate.backends import Backends

        return Backends(self.target, self.request_id)

    @cached_property
    def gate(self) -> Gate:
        """Decides whether the operator may."""
        from bazar_cli.services.gate.gate import Gate

        return Gate(self.backends, self.identities)

    def authorize(self, request: object) -> Grant:
        """Return the gate's Grant for this command's spec. Raises: as `Gate.authorize`."""
        return self.gate.authorize(self.spec, request, self.options.dry_run)

    def perform(
        self, service: Callable[[Backends, Grant, Request], R], request: Request, *, only_shows: bool = False
    ) -> R:
        """Pass the gate, then run the use case with the Grant; ask for consent where it needs it.

        Parameters: `only_shows` says that an option makes the command write nothing, as a dry run does.
        Raises: as `Gate.perform` and `with_consent`.
        """
        if self.spec.access is Access.PUBLIC:
            raise ValueError(f"{self.spec.name} is public: it calls its service itself")
        dry_run = self.options.dry_run or only_shows
        result = self.with_consent(lambda asked: self.gate.perform(service, self.spec, asked, dry_run=dry_run), request)
        self.tell_dry_run()
        return result

    def tell_dry_run(self) -> bool:
        """Say that nothing was written, where it was a dry run; return whether it was."""
        if self.options.dry_run:
            self.notice("dry run: nothing was written")
        return self.options.dry_run

    def with_consent(self, act: Callable[[Request], R], request: Request) -> R:
        """Call `act`; while it needs consent, ask, and call it again with the request that has the answer.

        An impact that changed while a person thought is shown and asked for again. Raises: as `act` and `agree`.
        """
        while True:
            try:
                return act(request)
            except ConsentNeeded as needed:
                request = with_consent(request, self.agree(needed.impact))

    def agree(self, impact: Impact) -> Impact | str:
        """Show an impact, ask for consent, and return what was agreed to, or the word that was typed.

        --yes agrees for any number of users, but types no word.
        Raises: ConsentNeeded where nobody can be asked; Refused `input.consent` for a no.
        """
        if impact.word is None and self.options.yes:
            self.notice(impact.text)
            return impact.for_any_number()
        if not self.prompter.possible:
            raise ConsentNeeded(impact)
        question = f"{impact.text}. {impact.question}"
        if impact.word is not None:
            return self.prompter.word(question)
        if not self.prompter.yes(question):
            raise Refused("input.consent", "not confirmed; nothing was done", details=impact.details)
        return impact

    def close(self) -> None:
        """Close what was opened, and end the session that was begun for this command alone."""
        try:
            if "backends" in self.__dict__:
                self.backends.close()
        finally:
            if "identities" in self.__dict__:
                self.identities.close()

    # -- output -------------------------------------------------------------------------------------------

    @property
    def machine(self) -> bool:
        """Whether the result goes to a program rather than to a person."""
        return self._renderer.format is not Format.TABLE

    @property
    def _errors_are_json(self) -> bool:
        return (self.options.output or self.environ.get("BAZAR_OUTPUT")) in {Format.JSON, Format.JSONL}

    def show(self, item: T, *, or_lost: BazarError | None = None) -> None:
        """Write a single result.

        Parameters: `or_lost` is raised, with the reason, where standard output does not take what is shown only
        once: not even a reader that has gone ends that quietly.
        """
        self._renderer.one(self._shown_by(), item)
        if or_lost is not None and self._renderer.lost:
            raise or_lost from self._renderer.lost

    def show_all(self, items: tuple[T, ...]) -> None:
        """Write a list that is whole."""
        self._list(iter((Page(items, None),)))

    def show_stream(self, items: Iterable[T]) -> None:
        """Write items as they come."""
        self._list(Page((item,), None) for item in items)

    def show_pages(self, fetch: Callable[[Any], Page[T]], request: Any, *, every: bool) -> None:
        """Write one page of a list, or all of them with `every`; a table that has more says so.

        Parameters: `fetch` is called with `request`, then with its `cursor` replaced for each next page.
        """
        last: list[str | None] = []

        def pages() -> Any:
            current = replace(request, limit=MAX_LIMIT) if every else request
            while True:
                page = fetch(current)
                more = every and page.next_cursor is not None
                yield Page(page.items, None if every else page.next_cursor)
                last[:] = [page.next_cursor]
                if not more:
                    return
                current = replace(current, cursor=page.next_cursor)

        self._list(pages())
        if last and last[0] is not None and not every and self._renderer.format not in {Format.JSON, Format.YAML}:
            # Never cut off silently; a warning, because a script that reads ids would miss the rest.
            self.warn(f"there is more: add --all, or --cursor {last[0]}")

    def export(self, pages: Iterable[Page[T]], file: str | None, *, overwrite: bool) -> None:
        """Write all pages, as JSON Lines unless -o or BAZAR_OUTPUT say otherwise, to standard output or a new file.

        Parameters: `file` None or `-` is standard output.
        Raises: UsageError `output.no_export` for a table, `usage.invalid_value` for an empty name; as
        `adapters.files.new_private_text`.
        """
        if self.options.output is Format.TABLE:
            raise UsageError(
                "output.no_export", "an export is no table", hint="choose jsonl (the default), json, csv, yaml or ids"
            )
        chosen = self._renderer.format if self.machine else Format.JSONL
        if file is None or file == "-":
            Renderer(chosen, self._renderer.fields, self.environ).pages(self._shown_by(), _ready(pages))
            return
        from bazar_cli.adapters.files import new_private_text, refuse_taken

        if not file:
            raise UsageError("usage.invalid_value", "FILE is empty", hint="name a file, or leave it out for a pipe")
        path = current_folder() / file
        refuse_taken(path, file, overwrite=overwrite)
        ready = _ready(pages)
        with new_private_text(path, overwrite=overwrite, named=file) as stream:
            count = Renderer(chosen, self._renderer.fields, self.environ, stream).pages(self._shown_by(), ready)
        self.notice(f"{count} written to {file}")

    def require_field(self, name: str, why: str) -> None:
        """Refuse, before anything is done, an output that would lose a field for ever.

        Raises: UsageError `output.loses_field`.
        """
        shown = self._renderer.fields is None or name in self._renderer.fields
        if self._renderer.format is Format.IDS or not shown:
            raise UsageError(
                "output.loses_field",
                f"{why}, and this output leaves {name} out",
                hint=f"use -o json, or add {name} to --fields",
            )

    def told(self, text: str) -> str:
        """Return a text as it may be told: without secrets, its commands for this target."""
        return self.redactor.hide(with_target(text, self.options.profile, self.options.env_file))

    def notice(self, *lines: str) -> None:
        """Say something on standard error, unless --quiet."""
        if not self.options.quiet:
            say(*map(self.told, lines))

    def warn(self, text: str) -> None:
        """Say on standard error what must not be missed, --quiet or not."""
        say(self.told(f"warning: {text}"))

    def warn_of_source(self, text: str) -> None:
        """Warn of where the target comes from; where errors are JSON, which stands alone, only when none came."""
        self._held.append(text)
        if not self._errors_are_json:
            self.tell_held()

    def tell_held(self) -> None:
        """Give the warnings that were held back."""
        while self._held:
            self.warn(self._held.pop(0))

    def summarize(self, rows: Iterable[tuple[str, str]]) -> None:
        """Add what was done to the summary of the step, where the command runs in GitHub Actions."""
        if self.options.dry_run:
            return
        told = [(name, self.redactor.hide(text)) for name, text in rows]
        try:
            actions.add_to_summary(self.environ, f"bazar {self.spec.name.replace('.', ' ')}", told)
        except OSError as error:
            self.warn(f"the summary of the step could not be written: {error.strerror}")

    # -- input --------------------------------------------------------------------------------------------

    def read_password(self, question: str, *, from_stdin: bool, twice: bool = False) -> Secret:
        """Read a password from standard input, or ask for it, saying which Auth service gets it.

        Raises: UsageError `input.*`, `target.*`.
        """
        if from_stdin:
            if not self._errors_are_json:
                self.notice(self._goes_to())
            return self._secret_from_stdin("password")
        if self.prompter.possible:
            # A part of the question, so --quiet leaves it.
            goes_to = self._goes_to()
            self.tell_held()
            say(goes_to)
        secret = self.prompter.secret(question, option="--password-stdin", twice=twice)
        self.redactor.remember(secret.reveal())
        return secret

    def read_file(self, file: str, limit: int) -> tuple[str, str]:
        """Read a file, or with `-` standard input, of `limit` bytes at most; return its text, and what to call it.

        Raises: UsageError `usage.invalid_value` for an empty name; as `adapters.files.read_text`.
        """
        from bazar_cli.adapters.files import decoded, read_text

        if file == "-":
            named = "standard input"
            return normalized(decoded(sys.stdin.buffer.read(limit + 1), limit, named=named)), named
        if not file:
            raise UsageError("usage.invalid_value", "--file is empty", hint="name a file, or - for standard input")
        return normalized(read_text(current_folder() / file, limit, named=file)), file

    def read_hash(self) -> Secret:
        """Read a password hash from standard input. Raises: UsageError `input.*`."""
        return self._secret_from_stdin("password hash")

    def remember_secrets(self, values: Mapping[str, str]) -> None:
        """Hide the secrets of a target that was not resolved from this command line."""
        self.redactor.remember_values(values)

    def _secret_from_stdin(self, what: str) -> Secret:
        secret = secret_from_stdin(what)
        self.redactor.remember(secret.reveal())
        return secret

    def _goes_to(self) -> str:
        return self.told(f"the password goes to Supabase Auth at {self.target.supabase_url}")

    def _list(self, pages: Iterable[Page[T]]) -> None:
        # Nothing is written before the first page is there: an error leaves standard output empty.
        found = self._renderer.pages(self._shown_by(), _ready(pages))
        if not found and not self.machine:
            self.notice("no results")

    def _shown_by(self) -> View[T]:
        assert self._view is not None, f"{self.spec.name} shows a result and declares no view"
        return self._view


def _ready(pages: Iterable[Page[T]]) -> Iterable[Page[T]]:
    """Return the same pages once the first of them is there."""
    coming = iter(pages)
    first = next(coming, None)
    return chain([first] if first is not None else [], coming)


def current_folder() -> Path:
    """Return the working folder; a relative path to it, in which nothing is found, when it cannot be looked at."""
    try:
        return Path.cwd()
    except OSError:
        return Path()


def _format(options: Options, environ: Mapping[str, str]) -> Format:
    if options.output is not None:
        return options.output
    chosen = environ.get("BAZAR_OUTPUT")
    if not chosen:
        return Format.TABLE
    try:
        return Format(chosen)
    except ValueError:
        raise UsageError(
            "output.unknown_format",
            f"BAZAR_OUTPUT is {chosen[:40]!r}",
            hint=f"known formats: {', '.join(f.value for f in Format)}",
        ) from None


def _fields(options: Options) -> tuple[str, ...] | None:
    if options.fields is None:
        return None
    return tuple(name for name in (part.strip() for part in options.fields.split(",")) if name)
