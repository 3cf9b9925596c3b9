"""Errors as people and scripts see them: one message and one hint, or one JSON object, on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from bazar_cli.domain.errors import BazarError, ExitCode
from bazar_cli.runtime import actions
from bazar_cli.runtime.escape import escaped_json
from bazar_cli.runtime.redact import Redactor
from bazar_cli.runtime.streams import say

_MACHINE = frozenset({"json", "jsonl"})


class Reporter:
    """Reports the errors of one command."""

    def __init__(self, request_id: str, *, machine: bool, debug: bool, redactor: Redactor) -> None:
        self._request_id = request_id
        self._machine = machine
        self._debug = debug
        self._redactor = redactor
        self.annotates = False
        """Whether an error for people is an annotation of GitHub Actions as well; one for scripts is JSON alone."""
        self.complete: Callable[[str], str] = lambda hint: hint
        """Makes the commands of a hint ones for the target in use, once that is known."""

    def report(self, error: BazarError) -> ExitCode:
        """Write the error and return the exit code."""
        if self._debug:
            self._traceback(error)
        code = error.exit_code
        request = f"\nrequest id: {self._request_id}" if code is ExitCode.BUG else ""
        self._write(error.code, error.message, self.complete(error.hint), int(code), error.details, request)
        return code

    def unexpected(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """Report a bug; made the interpreter's exception hook, so that the exit code is 1."""
        del trace
        if self._debug:
            self._traceback(error)
        hint = "this is a bug in bazar: report it with the request id" + (
            "" if self._debug else "; --debug shows where it happened"
        )
        message = f"unexpected {kind.__name__}: {error}" if str(error) else f"unexpected {kind.__name__}"
        self._write("internal.unexpected", message, hint, int(ExitCode.BUG), {}, f"\nrequest id: {self._request_id}")

    def _write(
        self, code: str, message: str, hint: str, exit_code: int, details: Mapping[str, object], extra: str
    ) -> None:
        if self._machine:
            content = {
                "code": code,
                "message": message,
                "hint": hint,
                "exit_code": exit_code,
                "details": details,
                "request_id": self._request_id,
            }
            shown = {"error": self._redactor.hide_in(content)}
            say(escaped_json(json.dumps(shown, ensure_ascii=False, default=str)))
            return
        if self.annotates:
            told = self._redactor.hide(f"{message}\n{hint}" if hint else message)
            say(actions.annotation(code, told))
        say(self._redactor.hide(f"error: {message}" + (f"\nhint: {hint}" if hint else "") + extra))

    def _traceback(self, error: BaseException) -> None:
        import traceback

        say(self._redactor.hide("".join(traceback.format_exception(error)).rstrip()))


def of_words(words: Sequence[str], environ: Mapping[str, str]) -> Reporter:
    """Return the reporter of a command line that leads to no command."""
    machine = wants_machine_errors(words, environ)
    return Reporter(os.urandom(16).hex(), machine=machine, debug=False, redactor=Redactor(environ))


def wants_machine_errors(words: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Say, before any option was parsed, whether errors are to be JSON: by the last -o, else BAZAR_OUTPUT."""
    chosen = environ.get("BAZAR_OUTPUT", "")
    for index, word in enumerate(words):
        if word == "--":
            break
        if word in {"-o", "--output"} and index + 1 < len(words):
            chosen = words[index + 1]
        elif word.startswith("--output="):
            chosen = word.partition("=")[2]
        elif word.startswith("-o") and not word.startswith("--") and len(word) > len("-o"):
            chosen = word[2:].removeprefix("=")
    return chosen in _MACHINE


def install(reporter: Reporter) -> None:
    """Make `reporter` tell of every exception that nobody expected."""
    sys.excepthook = reporter.unexpected
