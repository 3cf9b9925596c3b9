"""Everything that a run of a command writes: results, messages, and the summary of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Generic, TextIO, TypeVar, cast

from bazar_cli.domain.authz.spec import Spec
from bazar_cli.domain.errors import BazarError, UsageError
from bazar_cli.domain.page import MAX_LIMIT, Page
from bazar_cli.terminal import actions, tables
from bazar_cli.terminal.hints import with_target
from bazar_cli.terminal.options import Options
from bazar_cli.terminal.output import Format, Renderer
from bazar_cli.terminal.redact import Redactor
from bazar_cli.terminal.streams import is_terminal, messages, results, say, write_message
from bazar_cli.terminal.views.base import View

if TYPE_CHECKING:
    from bazar_cli.domain.exports import WantedRows, WrittenRows
    from bazar_cli.terminal.progress import ProgressMode

_FORMATS = {f".{form.value}": form for form in (Format.CSV, Format.JSON, Format.JSONL, Format.YAML)} | {
    ".ndjson": Format.JSONL,
    ".yml": Format.YAML,
}
"""The formats that names of files have."""
T = TypeVar("T")
Part = TypeVar("Part")


class RunOutput(Generic[T]):
    """The output of one run; a `View[T]` shows its results.

    Parameters: as of `Run` and `command`.
    Raises: UsageError `output.*`, for what cannot be shown.
    """

    def __init__(
        self,
        spec: Spec,
        view: View[T] | None,
        options: Options,
        environ: Mapping[str, str],
        redactor: Redactor,
        *,
        streams: bool,
    ) -> None:
        self.spec = spec
        self.options = options
        self.environ = environ
        self.redactor = redactor
        self._waiting: list[str] = []
        self._view = view
        self._warned_of_name = False
        keeps_text = view is not None and view.for_shells and options.output is None and options.fields is None
        chosen = Format.TABLE if keeps_text else _format(options, environ)
        if streams and chosen is Format.TABLE:
            chosen = _format_of_stream(spec, options)
        self._renderer = Renderer(chosen, _fields(options), environ)
        if view is not None:
            self._renderer.check(view)

    @property
    def machine(self) -> bool:
        """Whether the result has another format than table, for programs."""
        return self._renderer.format is not Format.TABLE

    @property
    def errors_are_json(self) -> bool:
        """Whether errors are JSON, by -o or BAZAR_OUTPUT."""
        return (self.options.output or self.environ.get("BAZAR_OUTPUT")) in {Format.JSON, Format.JSONL}

    def show(self, item: T, *, or_lost: BazarError | None = None) -> None:
        """Write a single result.

        Parameters: `or_lost` is raised, with the reason, if the result could not be written. It is for results that
        are shown only once, and counts even if the reader closed the pipe.
        """
        self._renderer.one(self._required_view(), item)
        if or_lost is not None and self._renderer.lost:
            raise or_lost from self._renderer.lost

    def show_all(self, items: tuple[T, ...]) -> None:
        """Write a complete list."""
        self._write_list(iter((Page(items, None),)))

    def show_stream(self, items: Iterable[T]) -> None:
        """Write items as they arrive."""
        self._write_list(Page((item,), None) for item in items)

    def show_fetched(self, fetch: Callable[[Any], Page[T]], request: Any, *, every: bool) -> None:
        """Write one page of a list, or all pages with `every`, and warn if there are more.

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

        self._write_list(pages())
        if last and last[0] is not None and not every and self._renderer.format not in {Format.JSON, Format.YAML}:
            # A warning, because a script that reads ids would miss the rest.
            self.warn(f"there is more: add --all, or --cursor {last[0]}")

    @property
    def is_lost(self) -> bool:
        """Whether results could not be written, because their reader has gone or a disk is full."""
        return self._renderer.lost is not None

    def wanted_rows(self, file: str | None) -> WantedRows | None:
        """Return what Postgres may write for an export to a file; None for a format that only bazar writes."""
        from bazar_cli.domain.exports import RowFormat, WantedRows

        self._follow_name(file)
        form = next((form for form in RowFormat if form.value == self._renderer.format.value), None)
        return WantedRows(form, self._required_view().chosen(self._renderer.fields)) if form else None

    def export_parts(
        self,
        parts: Iterable[Page[T] | WrittenRows],
        file: str | None,
        *,
        overwrite: bool,
        progress: ProgressMode | None = None,
    ) -> None:
        """Write all parts to standard output or a new file, in the format of -o, else of the name of the file.

        Parameters: `parts` are all pages, or all what `wanted_rows` asks for; `file` None or `-` is standard output;
        `progress` says how progress is shown, if it is.
        Raises: UsageError `usage.invalid_value` for an empty name; as `adapters.files.new_private_text`.
        """
        self._follow_name(file)
        if progress is not None:
            parts = self._watched(parts, progress, is_drawn=file in {None, "-"} and is_terminal(results()))
        if file is None or file == "-":
            self._write_export(*_first_and_all(parts))
            return
        from bazar_cli.adapters.files import new_private_text, refuse_taken

        if not file:
            raise UsageError("usage.invalid_value", "FILE is empty", hint="name a file, or leave it out for a pipe")
        path = current_folder() / file
        refuse_taken(path, file, overwrite=overwrite)
        first, ready = _first_and_all(parts)
        with new_private_text(path, overwrite=overwrite, named=file) as stream:
            count = self._write_export(first, ready, stream)
        self.notice(f"{count} written to {file}")

    def _watched(
        self, parts: Iterable[Page[T] | WrittenRows], mode: ProgressMode, *, is_drawn: bool
    ) -> Iterator[Page[T] | WrittenRows]:
        """Yield the parts, and show how many rows they have. Parameters: `is_drawn` says that rows go to a terminal."""
        from bazar_cli.domain.exports import WrittenRows
        from bazar_cli.terminal.progress import shown

        done, doing = 0, self.spec.name.partition(".")[0]
        with shown(mode, self.environ, quiet=self.options.quiet or is_drawn) as report:
            for part in parts:
                yield part
                done += part.count if isinstance(part, WrittenRows) else len(part.items)
                report(doing, done, None)

    def _follow_name(self, file: str | None) -> None:
        """Take the format that the name of an export has, such as `users.csv`, unless -o names one."""
        named = _FORMATS.get(PurePath(file).suffix.lower()) if file else None
        if named is None or named is self._renderer.format:
            return
        if self.options.output is None:
            self._renderer = Renderer(named, self._renderer.fields, self.environ)
        elif not self._warned_of_name:
            self._warned_of_name = True
            self.warn(f"{file} gets {self._renderer.format}, as -o says, and not {named}")

    def _write_export(self, first: object, parts: Iterator[Page[T] | WrittenRows], stream: TextIO | None = None) -> int:
        from bazar_cli.domain.exports import WrittenRows

        renderer = Renderer(self._renderer.format, self._renderer.fields, self.environ, stream)
        if isinstance(first, WrittenRows):
            return renderer.written(self._required_view(), cast("Iterator[WrittenRows]", parts))
        return renderer.pages(self._required_view(), cast("Iterator[Page[T]]", parts))

    def require_field(self, name: str, why: str) -> None:
        """Refuse an output without a field that cannot be shown again, before the command does anything.

        Raises: UsageError `output.loses_field`.
        """
        shown = self._renderer.fields is None or name in self._renderer.fields
        if self._renderer.format is Format.IDS or not shown:
            raise UsageError(
                "output.loses_field",
                f"{why}, and this output has no field {name}",
                hint=f"use -o json, or add {name} to --fields",
            )

    def as_message(self, text: str) -> str:
        """Return a text without secrets, and with this target in its commands."""
        return self.redactor.hide(with_target(text, self.options.profile, self.options.env_file))

    def notice(self, *lines: str) -> None:
        """Write a message to standard error, unless --quiet."""
        if not self.options.quiet:
            say(*map(self.as_message, lines))

    def notice_diff(self, lines: Iterable[str]) -> None:
        """Write the lines of a diff to standard error, in colours on a terminal, unless --quiet."""
        if not self.options.quiet:
            shown = tables.diff([self.as_message(line) for line in lines], messages(), self.environ)
            write_message(f"{shown}\n")

    def warn(self, text: str) -> None:
        """Write a warning to standard error, even with --quiet."""
        say(self.as_message(f"warning: {text}"))

    def warn_of_source(self, text: str) -> None:
        """Warn of the source of the target. If errors are JSON, it is written only after a success."""
        self._waiting.append(text)
        if not self.errors_are_json:
            self.write_waiting()

    def write_waiting(self) -> None:
        """Write the warnings that waited."""
        while self._waiting:
            self.warn(self._waiting.pop(0))

    def summarize(self, rows: Iterable[tuple[str, str]]) -> None:
        """Add rows to the summary of the step, if the command runs in GitHub Actions."""
        if self.options.dry_run:
            return
        shown = [(name, self.redactor.hide(text)) for name, text in rows]
        try:
            actions.add_to_summary(self.environ, f"bazar {self.spec.name.replace('.', ' ')}", shown)
        except OSError as error:
            self.warn(f"the summary of the step could not be written: {error.strerror}")

    def _write_list(self, pages: Iterable[Page[T]]) -> None:
        # An error of the first page leaves standard output empty.
        _, ready = _first_and_all(pages)
        found = self._renderer.pages(self._required_view(), ready)
        if not found and not self.machine:
            self.notice("no results")

    def _required_view(self) -> View[T]:
        assert self._view is not None, f"{self.spec.name} shows a result and declares no view"
        return self._view


def _first_and_all(parts: Iterable[Part]) -> tuple[Part | None, Iterator[Part]]:
    """Fetch the first part; return it, and all parts."""
    coming = iter(parts)
    first = next(coming, None)
    return first, chain([first] if first is not None else [], coming)


def refuse_input_as_output(read: str, written: str, option: str) -> None:
    """Refuse to replace the file that a command reads. Parameters: `option` names the file that it writes.

    Raises: UsageError `usage.invalid_value`.
    """
    folder = current_folder()
    try:
        is_same = (folder / read).samefile(folder / written)
    except OSError:
        return  # one of them is not there, or cannot be looked at: the command itself says so
    if is_same:
        raise UsageError(
            "usage.invalid_value",
            f"{option} {written} is the file that the command reads",
            hint=f"name another file with {option}",
        )


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


def _format_of_stream(spec: Spec, options: Options) -> Format:
    """Return the format of results of any number where none is chosen. BAZAR_OUTPUT=table is a wish for other commands.

    Raises: UsageError `output.no_export` for -o table.
    """
    if options.output is None:
        return Format.JSONL
    raise UsageError(
        "output.no_export",
        f"the results of `bazar {spec.name.replace('.', ' ')}` cannot be a table",
        hint="choose jsonl (the default), json, csv or yaml",
    )


def _fields(options: Options) -> tuple[str, ...] | None:
    if options.fields is None:
        return None
    return tuple(name for name in (part.strip() for part in options.fields.split(",")) if name)
