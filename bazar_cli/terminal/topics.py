"""The texts of `bazar help`: commands, and three topics that concern all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bazar_cli.domain.errors import UsageError
from bazar_cli.registry import TREE, Group, Leaf
from bazar_cli.terminal.leaf_help import command_help
from bazar_cli.terminal.listing import listing
from bazar_cli.terminal.streams import results
from bazar_cli.terminal.views.base import View

TEXT = View[str](computed={"text": lambda text: text}, raw=lambda text: text, for_shells=True)

_EXIT_CODES = """\
EXIT CODES

  0    done, or nothing to do
  1    a bug: an unexpected error, with its request id
  2    wrong usage or invalid input value
  3    not found, or not visible to you
  4    not signed in, session expired, sign-in refused
  5    denied by plan or scope
  6    conflict: it exists with other values, another command is changing it,
       or a rule forbids it
  7    a backend is unreachable, timed out, or a lock was not free in time: try again
  8    partly done: some rows of a bulk run failed
  9    a check found a problem, or pending work
  10   refused by a guard: protected environment, or consent missing
  130  interrupted

With -o json or jsonl an error is one JSON object on standard error:
{"error": {"code", "message", "hint", "exit_code", "details", "request_id"}}
"""
_ENVIRONMENT = """\
ENVIRONMENT

All values of the target come from one source: --profile or --env-file, else
BAZAR_PROFILE, else these variables, else ./.env or ./docker/server/.env, else the
active profile.

  SUPABASE_URL            https://PROJECT.supabase.co
  SUPABASE_KEY            service key: sb_secret_... or the service_role JWT
  DATABASE_URL            postgresql://USER:PASSWORD@HOST:PORT/DATABASE
  DATABASE_MIGRATION_URL  direct or session-pooler connection, for migrations
  SUPABASE_ANON_KEY       public key, for requests as the signed-in user
  SUPERUSER_EMAIL         first superuser; signs in where no prompt is possible
  SUPERUSER_PASSWORD

  BAZAR_TOKEN             access token: BAZAR_TOKEN=$(bazar auth token)
  BAZAR_PROFILE           name of the profile
  BAZAR_OUTPUT            output format, as -o
  BAZAR_NO_INPUT          never prompt
  BAZAR_SEED_PASSWORD     password of the users that `bazar db seed` creates
  BAZAR_CONFIG_DIR        folder of profiles and secrets
  BAZAR_DATA_DIR          folder of caches and the embedded stack
  BAZAR_DEBUG             as --debug
  BAZAR_ALLOW_PLAINTEXT   hosts that bazar may reach without TLS
  BAZAR_ACCESSIBLE        plain output: no colour, no boxes

  A switch is off when it is empty, 0, false, no or off.
  NO_COLOR, CLICOLOR_FORCE and TERM=dumb are honoured.
"""
_OUTPUT = """\
OUTPUT

  -o table   for people; on a pipe it is tab-separated and never cut
  -o json    one object; a list is {"items": [...], "next_cursor": "..." or null}
  -o jsonl   one object per line
  -o csv     RFC 4180, UTF-8, with a header; a ' stands before text that a spreadsheet would
             run, at the start of a cell and after each , ; tab and line break in it
  -o yaml    the same fields as json, for readers of YAML 1.1 and 1.2
  -o ids     ids only, one per line

  --fields a,b   chooses and orders columns or keys
  --limit N, --cursor C, --all   page through a list

Data goes to standard output; notices, warnings and errors to standard error.
Times are RFC 3339 in UTC.
"""
TOPICS = {"exit-codes": _EXIT_CODES, "environment": _ENVIRONMENT, "output": _OUTPUT}


def help_on(words: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return the help of a topic or of the command that `words` lead to.

    Raises: UsageError `usage.unknown_command`.
    """
    if len(words) == 1 and words[0] in TOPICS:
        return TOPICS[words[0]]
    node: Group | Leaf = TREE
    for index, word in enumerate(words):
        below = node.commands.get(word) if isinstance(node, Group) else None
        if below is None:
            known = [*(node.commands if isinstance(node, Group) else ()), *(TOPICS if index == 0 else ())]
            command = " ".join(["bazar", *words[:index]])
            raise UsageError(
                "usage.unknown_command",
                f"there is no command or topic {' '.join(words)[:80]!r}",
                hint=f"choose one of: {', '.join(known)}" if known else f"`{command}` has no commands below it",
            )
        node = below
    if isinstance(node, Group):
        return listing(node, list(words))
    return command_help(node.module, " ".join(["bazar", *words]), results(), environ)
