"""A word that is no command: what was meant, most likely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bazar_cli.domain.errors import UsageError
from bazar_cli.registry import Group
from bazar_cli.runtime import reports, streams


def unknown_word(group: Group, path: Sequence[str], word: str, words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Report that `word` stands where a command of `group` should; return exit code 2."""
    import difflib

    streams.use_utf8()
    command = " ".join(["bazar", *path])
    hint = f"`{command} --help` lists the commands"
    if word.startswith("-"):
        error = UsageError(
            "usage.unknown_option",
            f"`{command}` has no option {word[:80]}",
            hint=f"options come after the command; {hint}",
        )
    else:
        near = difflib.get_close_matches(word.lower(), group.commands, n=2, cutoff=0.5)
        if near:
            hint = f"did you mean {' or '.join(f'`{command} {n}`' for n in near)}? {hint}"
        error = UsageError("usage.unknown_command", f"`{command}` has no command {word[:80]!r}", hint=hint)
    return reports.of_words(words, environ).report(error)
