"""The topics of `bazar help`, which concern all commands. The registry has their names and one line about each.

The pages in docs/cli and the man pages of section 7 are made from these texts.
"""

from __future__ import annotations

from bazar_cli.terminal.help_text import Block, Lines, Terms, Text

EXIT_CODES = [
    ("0", "done, or nothing to do"),
    ("1", "a bug: an unexpected error, with its request id"),
    ("2", "wrong usage or invalid input value"),
    ("3", "not found, or not visible to you"),
    ("4", "not signed in, session expired, sign-in refused"),
    ("5", "denied by plan or scope"),
    ("6", "conflict: it exists with other values, another command is changing it, or a rule forbids it"),
    ("7", "a backend is unreachable or timed out, a lock was not free in time, or a disk is full: try again"),
    ("8", "partly done: some rows of a bulk run failed"),
    ("9", "a check found a problem, or pending work"),
    ("10", "refused by a guard: protected environment, or consent missing"),
    ("130", "interrupted"),
]
_EXIT_CODES: list[Block] = [
    Text("The exit code says how a command ended."),
    Terms("EXIT CODES", EXIT_CODES),
    Text(
        "Each error also has a code that never changes, such as `users.not_found`, and `bazar help CODE` explains it. "
        "With -o json or jsonl an error is one JSON object on standard error."
    ),
    Lines(
        "ERRORS IN JSON",
        [
            '{"error": {"code": "users.not_found", "message": "...", "hint": "...",',
            '           "exit_code": 3, "details": {}, "request_id": "...", "docs": "..."}}',
        ],
    ),
    Text("`docs` is the address of the code in the list of error codes."),
]
_ENVIRONMENT: list[Block] = [
    Text("These variables name the target. `bazar help targets` says when they count."),
    Terms(
        "VARIABLES OF THE TARGET",
        [
            ("SUPABASE_URL", "https://PROJECT.supabase.co"),
            ("SUPABASE_KEY", "service key: sb_secret_... or the service_role JWT"),
            ("DATABASE_URL", "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
            ("DATABASE_MIGRATION_URL", "direct or session-pooler connection, for migrations"),
            ("SUPABASE_ANON_KEY", "public key, for requests as the signed-in user"),
            ("SUPERUSER_EMAIL", "first superuser; signs in where no prompt is possible"),
            ("SUPERUSER_PASSWORD", "password of SUPERUSER_EMAIL"),
            ("BAZAR_API_URL", "in place of the others: a server of bazar, https://bazar.example.com"),
        ],
    ),
    Terms(
        "OTHER VARIABLES",
        [
            ("BAZAR_TOKEN", "access token: `BAZAR_TOKEN=$(bazar auth token)`"),
            ("BAZAR_PROFILE", "name of the profile"),
            ("BAZAR_OUTPUT", "output format, as -o"),
            ("BAZAR_NO_INPUT", "never prompt"),
            ("BAZAR_SEED_PASSWORD", "password of the users that `bazar db seed` creates"),
            ("BAZAR_CONFIG_DIR", "folder of profiles and secrets"),
            ("BAZAR_DATA_DIR", "folder of caches and the embedded stack"),
            ("BAZAR_DEBUG", "as --debug"),
            ("BAZAR_ALLOW_PLAINTEXT", "hosts that bazar may reach without TLS"),
            ("BAZAR_ACCESSIBLE", "plain output: no colour, no boxes"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "OpenTelemetry collector that gets a trace of each command"),
        ],
    ),
    Terms(
        "VARIABLES OF OTHER PROGRAMS",
        [
            ("PYTHON_KEYRING_BACKEND", "keyring that holds secrets"),
            ("COLUMNS", "width of tables and help"),
            ("HTTPS_PROXY", "proxy for the server of BAZAR_API_URL; also https_proxy, all_proxy and ALL_PROXY"),
            ("NO_PROXY", "hosts that are reached without the proxy; also no_proxy"),
            ("NO_COLOR", "no colour"),
            ("CLICOLOR_FORCE", "colour and boxes on a pipe too; a switch"),
            ("TERM", "dumb: no colour, no boxes"),
            ("OTEL_*", "more about traces: docs/observability.md lists them"),
            ("TRACEPARENT, TRACESTATE", "trace of the caller, of which the command becomes a part"),
            ("GITHUB_ACTIONS", "true: `bazar db` writes errors as annotations too"),
            ("GITHUB_STEP_SUMMARY", "file to which `bazar db` adds a summary where GITHUB_ACTIONS is true"),
        ],
    ),
    Text("A switch is off when it is empty, 0, false, no or off."),
]
_OUTPUT: list[Block] = [
    Text("Data goes to standard output; notices, warnings and errors to standard error."),
    Terms(
        "FORMATS",
        [
            ("-o table", "for people; on a pipe it is tab-separated and never cut"),
            ("-o json", 'one object; a list is {"items": [...], "next_cursor": "..." or null}'),
            ("-o jsonl", "one object per line"),
            (
                "-o csv",
                (
                    "RFC 4180, UTF-8, with a header; a ' stands before text that a spreadsheet would run, at the start "
                    "of a cell and after each , ; tab and line break in it"
                ),
            ),
            ("-o yaml", "the same fields as json, for readers of YAML 1.1 and 1.2"),
            ("-o ids", "ids only, one per line"),
        ],
    ),
    Terms(
        "FIELDS AND PAGES",
        [
            ("--fields a,b", "chooses and orders columns or keys"),
            ("--limit N", "length of a page of a list"),
            ("--cursor C", "begins where the page before ended; the page before names C"),
            ("--all", "all pages of a list"),
        ],
    ),
    Text("Times are RFC 3339 in UTC."),
]
_PERMISSIONS: list[Block] = [
    Text(
        "Two checks decide about each command. The plan says what an operator may do, the scope says where. Both must "
        "allow it. A superuser reaches everything, and the plan check applies to superusers too. The help of each "
        "command names what it requires."
    ),
    Terms(
        "PLANS WITH EACH PERMISSION",
        [
            ("users:read", "Free, Plus, Premium"),
            ("users:create", "Premium"),
            ("users:update", "Premium"),
            ("users:delete", "Premium"),
            ("files:read", "Free, Plus, Premium"),
            ("files:execute", "Plus, Premium"),
            ("files:create", "Premium"),
            ("files:update", "Premium"),
            ("files:delete", "Premium"),
            ("orgs:read", "Free, Plus, Premium"),
            ("orgs:create", "Premium"),
            ("orgs:update", "Premium"),
            ("orgs:delete", "Premium"),
            ("members:read", "Free, Plus, Premium"),
            ("members:manage", "Premium"),
            ("plans:read", "Free, Plus, Premium"),
            ("plans:assign", "Premium"),
            ("plans:manage", "Premium"),
            ("db:read", "Premium"),
            ("db:migrate", "Premium"),
            ("db:reset", "Premium"),
            ("audit:read", "Premium"),
        ],
    ),
    Text(
        "This is the table as the first migration writes it. `bazar plans matrix` shows the current one; "
        "`bazar plans grant` and `bazar plans revoke` change it."
    ),
    Terms(
        "SCOPE",
        [
            ("reading", "yourself, and users and organizations that share an organization with you"),
            (
                "writing a user",
                "an admin or owner of all of the user's organizations, with a higher role than the user's in each",
            ),
            ("members", "an admin manages members below their own role; an owner also manages owners"),
            ("an organization", "admins and owners change its name and slug; an owner deletes it"),
            (
                "superusers only",
                "plans and what they allow, the database, `audit verify`, emails, and users without an organization",
            ),
        ],
    ),
    Text(
        "A denial has exit code 5 and names what is missing. `bazar plans explain` shows each step to the answer, and "
        "who can change it."
    ),
]
_TARGETS: list[Block] = [
    Text(
        "A direct target is a Supabase project and its database. A remote target is a server of bazar, which holds the "
        "keys of both. All values of a target come from one source, the first of these:"
    ),
    Terms(
        "SOURCES, IN THIS ORDER",
        [
            ("1. an option", "--profile NAME or --env-file FILE"),
            ("2. BAZAR_PROFILE", "the name of a profile"),
            ("3. the environment", "if SUPABASE_URL, SUPABASE_KEY, DATABASE_URL or BAZAR_API_URL is set"),
            ("4. an env file", "./.env, then ./docker/server/.env, if it sets one of those four"),
            ("5. the active profile", "as `bazar config profiles use NAME` chose it"),
        ],
    ),
    Text(
        "`bazar config show` shows each value with its source, `bazar config profiles add NAME` stores a target, and "
        "`bazar local start` makes one on this machine."
    ),
    Terms(
        "SAFETY",
        [
            ("env files", "one that bazar finds itself counts only if no other user could have written it"),
            (
                "encryption",
                "a host other than this machine needs https and sslmode=require, or BAZAR_ALLOW_PLAINTEXT names it",
            ),
            (
                "proxies",
                "HTTPS_PROXY, ALL_PROXY and NO_PROXY count for the https URL of a server, and for nothing else",
            ),
            ("protection", "commands that destroy data are refused if the database is marked protected"),
        ],
    ),
    Text(
        "The operator is BAZAR_TOKEN, else the stored session of the target, else SUPERUSER_EMAIL where no prompt is "
        "possible and the environment is the target. SUPERUSER_* never sign in to a server, and the commands of `db`, "
        "`doctor`, `apply`, `diff` and `users import` need a direct target."
    ),
]
TOPICS: dict[str, list[Block]] = {
    "environment": _ENVIRONMENT,
    "exit-codes": _EXIT_CODES,
    "output": _OUTPUT,
    "permissions": _PERMISSIONS,
    "targets": _TARGETS,
}
