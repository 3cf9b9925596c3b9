"""The command tree as plain data: which words lead to which module, and one line of help for each.

`main` answers listings, suggestions and the completion of command names from here alone, so this module
imports nothing. A verb's module is imported only when that verb runs.
"""


class Leaf:
    """A command: the module that holds it, and its one-line help."""

    __slots__ = ("help", "module")

    def __init__(self, module: str, help: str) -> None:  # noqa: A002 - the field's usual name
        self.module = module
        self.help = help


class Group:
    """Commands under one word, and its one-line help."""

    __slots__ = ("commands", "default_command", "help")

    def __init__(self, help: str, commands: "dict[str, Group | Leaf]", default_command: str = "") -> None:  # noqa: A002
        self.help = help
        self.commands = commands
        self.default_command = default_command
        """The command that the name of the group alone runs; empty: the listing."""


def _verbs(package: str, helps: "dict[str, str]") -> "dict[str, Group | Leaf]":
    """The leaves of one package, where each verb is the name of its module, written with underscores."""
    return {verb: Leaf(f"bazar_cli.commands.{package}.{verb.replace('-', '_')}", text) for verb, text in helps.items()}


TREE = Group(
    "Administer Bazar's users, organizations and plans.",
    {
        "auth": Group(
            "Sign in and out, and see who you are",
            _verbs(
                "auth",
                {
                    "login": "Sign in and keep the session",
                    "logout": "End the session here, or everywhere",
                    "password": "Change your own password",
                    "refresh": "Renew the stored session",
                    "status": "Show who is signed in, and where",
                    "token": "Print the access token for scripts",
                },
            ),
        ),
        "users": Group(
            "Create, find, change and delete users",
            {
                **_verbs(
                    "users",
                    {
                        "adopt": "Take in an identity that lives only at Supabase",
                        "create": "Create a user in Postgres and Supabase Auth",
                        "delete": "Delete a user from both systems",
                        "demote": "Take the superuser flag from a user",
                        "get": "Show one user",
                        "list": "List users",
                        "me": "Show yourself",
                        "promote": "Make a user a superuser",
                        "reset-password": "Let a user set a new password",
                        "restore": "Let a suspended user in again",
                    },
                ),
                "sessions": Group(
                    "See and end where a user is signed in",
                    _verbs(
                        "users.sessions",
                        {
                            "list": "List the sessions of a user",
                            "revoke": "End the sessions of a user",
                        },
                    ),
                ),
                **_verbs("users", {"suspend": "Ban a user in both systems", "update": "Change a user"}),
            },
        ),
        "orgs": Group(
            "Create, find, change and delete organizations, and their members",
            {
                **_verbs(
                    "orgs",
                    {
                        "create": "Create an organization",
                        "delete": "Delete an organization",
                        "get": "Show one organization",
                        "list": "List organizations",
                    },
                ),
                "members": Group(
                    "See and change who belongs to an organization",
                    _verbs(
                        "orgs.members",
                        {
                            "add": "Add a user to an organization",
                            "list": "List the members of an organization",
                            "remove": "Take a member out",
                            "update": "Change a member's role",
                        },
                    ),
                ),
                **_verbs("orgs", {"update": "Change an organization"}),
            },
        ),
        "plans": Group(
            "See and change what each plan allows, and who is on it",
            _verbs(
                "plans",
                {
                    "assign": "Put a user on a plan",
                    "check": "Say whether a user has a permission",
                    "explain": "Show every step of why a user may or may not",
                    "grant": "Add a permission to a plan",
                    "list": "List the plans",
                    "matrix": "Show which plan has which permission",
                    "revoke": "Take a permission from a plan",
                    "show": "Show one plan",
                    "usage": "Count the users on each plan",
                },
            ),
        ),
        "db": Group(
            "Migrate the database and see its state",
            {
                **_verbs(
                    "db",
                    {
                        "create": "Make the database itself",
                        "current": "Print the revision of the database",
                        "drop": "Drop the database itself",
                    },
                ),
                "env": Group(
                    "See and change what the database says of itself",
                    _verbs(
                        "db.env",
                        {
                            "set": "Name the environment, and protect it or not",
                            "show": "Show the environment, and whether it is protected",
                        },
                    ),
                    default_command="show",
                ),
                **_verbs(
                    "db",
                    {
                        "heads": "Show what the migration files end in",
                        "history": "List the migration files",
                        "locks": "Show who holds what, and who waits for whom",
                        "merge": "Join two heads of the migration files",
                        "migrate": "Apply pending revisions",
                        "redo": "Take the newest revision back and apply it again",
                        "reset": "Delete all rows of bazar's tables",
                        "revision": "Write the next migration file",
                        "rollback": "Take applied revisions back",
                        "seed": "Make demo users and organizations",
                        "status": "Show the revision and what is pending",
                        "wait": "Wait until the database accepts connections",
                    },
                ),
            },
        ),
        "audit": Group(
            "See who did what, and prove the log whole",
            _verbs(
                "audit",
                {
                    "export": "Write all events to a file or pipe",
                    "list": "List events, the newest first",
                    "verify": "Prove that no event was changed or removed",
                },
            ),
        ),
        "local": Group(
            "Run Postgres and an Auth service on this machine",
            _verbs(
                "local",
                {
                    "env": "Print the stack's target as shell exports",
                    "logs": "Show the stack's logs",
                    "mail": "Show the mails that were not sent",
                    "reset": "Delete the stack's data",
                    "start": "Start the stack and sign in to it",
                    "status": "Show what runs",
                    "stop": "Stop the stack",
                },
            ),
        ),
        "config": Group(
            "See and change this machine's settings",
            {
                **_verbs("config", {"path": "Show where files are kept"}),
                "profiles": Group(
                    "Keep several targets by name",
                    _verbs(
                        "config.profiles",
                        {
                            "add": "Keep a target under a name",
                            "list": "List the profiles",
                            "remove": "Forget a profile with its secrets",
                            "use": "Make a profile the active one",
                        },
                    ),
                ),
                **_verbs("config", {"show": "Show each setting with its source"}),
            },
        ),
        "doctor": Leaf("bazar_cli.commands.doctor", "Check the configuration and both systems"),
        "completion": Leaf("bazar_cli.commands.completion", "Print the completion script of a shell"),
        "help": Leaf("bazar_cli.commands.help", "Explain a command, exit codes, environment or output"),
    },
)
