"""Errors on standard error: a message and a hint, or one JSON object."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bazar_cli.domain.errors import BazarError, ExitCode
from bazar_cli.terminal import actions
from bazar_cli.terminal.error_texts import address
from bazar_cli.terminal.escape import escaped_json
from bazar_cli.terminal.redact import Redactor
from bazar_cli.terminal.streams import say

_MACHINE = frozenset({"json", "jsonl"})


class Reporter:
    """Reports the errors of one command."""

    def __init__(self, request_id: str, *, machine: bool, debug: bool, redactor: Redactor) -> None:
        self.request_id = request_id
        self._machine = machine
        self._debug = debug
        self._redactor = redactor
        self.annotates = False
        """Whether an error that is not JSON is also written as an annotation of GitHub Actions."""
        self.complete: Callable[[str], str] = lambda hint: hint
        """Adds the target to the commands of a hint, once the target is known."""
        self.keep: Callable[[BaseException], Path] | None = None
        """Writes the crash report of a bug, and returns its path."""

    def report(self, error: BazarError, verdict: int = ExitCode.DONE) -> int:
        """Write the error and return the exit code: an earlier verdict if there is one, else that of the error."""
        if self._debug:
            self._traceback(error)
        code = int(verdict or error.exit_code)
        self._write(error, self.complete(error.hint), code)
        return code

    def unexpected(self, error: BaseException) -> int:
        """Report a bug and return the exit code.

        Where no crash report can be written, the traceback is written to standard error, or is a part of a JSON error.
        """
        path, problem = self._crash_report(error)
        if self._debug or (problem and not self._machine):
            self._traceback(error)
        hint = "this is a bug in bazar: report it with the request id"
        if path is not None:
            hint += f" and the file {path}"
        elif problem:
            hint += " and the traceback"
        elif not self._debug:
            hint += "; --debug shows where it happened"
        kind, said = type(error).__name__, _text(error)
        message = f"unexpected {kind}: {said}" if said else f"unexpected {kind}"
        below = [f"no crash report could be written: {problem}"] if problem else []
        details: dict[str, object] = {"crash_report": str(path)} if path else {}
        if problem and self._machine:
            details["traceback"] = _lines(error)
        self._write(BazarError("internal.unexpected", message, details=details, below=below), hint, ExitCode.BUG)
        return ExitCode.BUG

    def _crash_report(self, error: BaseException) -> tuple[Path | None, str]:
        """Write the crash report; return its path, or why it could not be written."""
        if self.keep is None:
            return None, ""
        try:
            return self.keep(error), ""
        except Exception as failed:  # noqa: BLE001 - nothing that fails here may hide the bug itself
            return None, f"{type(failed).__name__}: {_text(failed)}"

    def _write(self, error: BazarError, hint: str, exit_code: int) -> None:
        if self._machine:
            shown = {"error": error_object(error, hint, exit_code, self.request_id, self._redactor)}
            say(escaped_json(json.dumps(shown, ensure_ascii=False, default=str)))
            return
        hide = self._redactor.hide
        if self.annotates:
            say(actions.annotation(error.code, [hide(text) for text in (*error.lines, hint) if text]))
        first, *below = error.lines
        lines = [f"error: {first}", *below, *([f"hint: {hint}"] if hint else [])]
        lines += [f"request id: {self.request_id}"] if error.exit_code is ExitCode.BUG else []
        say(*map(hide, lines))

    def _traceback(self, error: BaseException) -> None:
        say(*(f"| {self._redactor.hide(line)}" for line in _lines(error)))


def _lines(error: BaseException) -> list[str]:
    import traceback

    return "".join(traceback.format_exception(error)).rstrip().split("\n")


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a broken `__str__` of a library must not hide which error it was
        return ""


def error_object(
    error: BazarError, hint: str, exit_code: int, request_id: str | None, redactor: Redactor
) -> dict[str, object]:
    """Return the error object of the contract, without secrets."""
    content = {
        "code": error.code,
        "message": error.message,
        "hint": hint,
        "exit_code": int(exit_code),
        "details": error.details,
        "request_id": request_id,
        "docs": address(error.code),
    }
    return {name: redactor.hide_in(value) for name, value in content.items()}


def of_words(words: Sequence[str], environ: Mapping[str, str]) -> Reporter:
    """Return the reporter of a command line that names no command."""
    machine = wants_machine_errors(words, environ)
    return Reporter(os.urandom(16).hex(), machine=machine, debug=False, redactor=Redactor(environ))


def wants_machine_errors(words: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Return whether errors are JSON, before options are parsed: by the last -o, else by BAZAR_OUTPUT."""
    return (last_value(words, "--output", "-o") or environ.get("BAZAR_OUTPUT", "")) in _MACHINE


def last_value(words: Sequence[str], option: str, short: str | None = None) -> str:
    """Return the last value of an option, before options are parsed; "" without one."""
    chosen = ""
    for index, word in enumerate(words):
        if word == "--":
            break
        if word in {option, short} and index + 1 < len(words):
            chosen = words[index + 1]
        elif word.startswith(f"{option}="):
            chosen = word.partition("=")[2]
        elif short and word.startswith(short) and not word.startswith("--") and len(word) > len(short):
            chosen = word[2:].removeprefix("=")
    return chosen
