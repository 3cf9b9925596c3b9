"""Questions to a person, on standard error; without a terminal an error names the option to use."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.texts import normalized, password
from bazar_cli.terminal.escape import escaped
from bazar_cli.terminal.streams import is_on, is_terminal, messages, readable_input, write_message

_YES = frozenset({"y", "yes"})
_STDIN_LIMIT = 64 * 1024


class Prompter:
    """Asks questions, or raises an error where there is no terminal."""

    def __init__(self, environ: Mapping[str, str], *, no_input: bool) -> None:
        self.possible = not no_input and not is_on(environ, "BAZAR_NO_INPUT") and is_terminal(sys.stdin)

    def text(self, question: str, *, option: str) -> str:
        """Ask for one line. Raises: UsageError `input.needed`, naming the option that answers instead."""
        self._demand(question, option)
        write_message(f"{escaped(question)}: ")
        answer = _answer()
        if not answer:
            raise UsageError("input.empty", f"{question.lower()}: nothing was typed", hint=f"give it with {option}")
        return answer

    def secret(self, question: str, *, option: str, twice: bool = False) -> Secret:
        """Ask for a secret without showing it, with `twice` a second time to detect typing errors.

        Raises: UsageError `input.needed`, `input.empty`, `input.differs`.
        """
        import getpass

        self._demand(question, option)
        question = escaped(question)
        try:
            answer = password(getpass.getpass(f"{question}: ", stream=messages()))
            again = password(getpass.getpass(f"{question} again: ", stream=messages())) if twice and answer else answer
        except EOFError:
            answer = again = ""
        except UnicodeDecodeError:
            raise _not_utf8("what was typed") from None
        if not answer:
            raise UsageError("input.empty", f"{question.lower()}: nothing was typed", hint=f"give it with {option}")
        if again != answer:
            raise UsageError("input.differs", "the two passwords differ", hint="type the same one twice")
        return Secret(answer)

    def yes(self, question: str) -> bool:
        """Ask a question whose answer is yes or no. Raises: UsageError `input.too_long`, `input.encoding`."""
        write_message(f"{escaped(question)} [y/N] ")
        return _answer().lower() in _YES

    def word(self, question: str) -> str:
        """Ask for a name; it may be empty. Raises: as `yes`."""
        write_message(f"{escaped(question)}: ")
        return _answer()

    def _demand(self, question: str, option: str) -> None:
        if not self.possible:
            raise UsageError(
                "input.needed",
                f"{question.lower()} is needed, and there is no terminal to ask for it",
                hint=f"give it with {option}",
            )


def _answer() -> str:
    """Return what a person typed. Raises: UsageError `input.too_long`, `input.encoding`, `input.unreadable`."""
    return normalized(_line("what was typed")).strip()


def _line(what: str) -> str:
    line = readable_input().readline(_STDIN_LIMIT + 1)
    if len(line) > _STDIN_LIMIT:
        raise UsageError(
            "input.too_long", f"{what} is longer than {_STDIN_LIMIT // 1024} KiB", hint="give it as one short line"
        )
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise _not_utf8(what) from None


def _not_utf8(what: str) -> UsageError:
    return UsageError(
        "input.encoding",
        f"{what} is not UTF-8 text",
        hint="check the encoding of the file or terminal that it comes from",
    )


def secret_from_stdin(what: str) -> Secret:
    """Return the first line of standard input, without a byte order mark and its line end.

    Raises: UsageError `input.empty`, `input.too_long`, `input.encoding`, `input.unreadable`.
    """
    text = password(_line(f"the {what} on standard input"))
    if not text:
        raise UsageError("input.empty", f"standard input holds no {what}", hint=f"pipe the {what} in, as one line")
    return Secret(text)
