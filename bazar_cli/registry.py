"""The command tree as plain data: which words lead to which module, and one line of help for each.

`main` answers listings, suggestions and the completion of command names from this module, so it imports nothing.
The module of a verb is imported only when that verb runs.
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
        """The command that runs when the group is named without one; empty: the listing is shown."""


def _verbs(package: str, helps: "dict[str, str]") -> "dict[str, Group | Leaf]":
    """The commands of one package; a verb is the name of its module, with hyphens for underscores."""
    return {verb: Leaf(f"bazar_cli.commands.{package}.{verb.replace('-', '_')}", text) for verb, text in helps.items()}


HELP = Leaf("bazar_cli.commands.help", "Explain a command, a topic or an error code")

TREE = Group(
    "Administer Bazar's users, organizations and plans.",
    {
        "auth": Group(
            "Sign in and out, and show who is signed in",
            _verbs(
                "auth",
                {
                    "login": "Sign in and keep the session",
                    "logout": "End the session on this machine, or everywhere",
                    "password": "Change your own password",
                    "refresh": "Renew the stored session",
                    "status": "Show who is signed in, and to which target",
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
                        "adopt": "Make a user of an identity that only Supabase has",
                        "create": "Create a user in Postgres and Supabase Auth",
                        "delete": "Delete a user from both systems",
                        "demote": "Remove the superuser flag of a user",
                        "export": "Write all users to a file or pipe",
                        "get": "Show one user",
                        "import": "Create or update the users of a file",
                    },
                ),
                "imports": Group(
                    "List imports, show their rows, and undo them",
                    _verbs(
                        "users.imports",
                        {
                            "list": "List imports, the newest first",
                            "show": "Show the rows of an import",
                            "undo": "Delete the users that an import created",
                        },
                    ),
                ),
                **_verbs(
                    "users",
                    {
                        "list": "List users",
                        "me": "Show your own user",
                        "promote": "Make a user a superuser",
                        "reset-password": "Send a user a link to set a new password",
                        "restore": "Let a suspended user sign in again",
                    },
                ),
                "sessions": Group(
                    "List and end the sessions of a user",
                    _verbs(
                        "users.sessions",
                        {
                            "list": "List the sessions of a user",
                            "revoke": "End the sessions of a user",
                        },
                    ),
                ),
                **_verbs("users", {"suspend": "Suspend a user in both systems", "update": "Change a user"}),
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
                        "export": "Write all organizations to a file or pipe",
                        "get": "Show one organization",
                        "list": "List organizations",
                    },
                ),
                "members": Group(
                    "List and change the members of an organization",
                    _verbs(
                        "orgs.members",
                        {
                            "add": "Add a user to an organization",
                            "list": "List the members of an organization",
                            "remove": "Remove a member from an organization",
                            "update": "Change a member's role",
                        },
                    ),
                ),
                **_verbs("orgs", {"update": "Change an organization"}),
            },
        ),
        "plans": Group(
            "Show and change what each plan allows, and which users have it",
            _verbs(
                "plans",
                {
                    "assign": "Change the plan of a user",
                    "check": "Check whether a user has a permission",
                    "explain": "Explain why a user has a permission or not",
                    "grant": "Add a permission to a plan",
                    "list": "List the plans",
                    "matrix": "Show which plan has which permission",
                    "revoke": "Remove a permission from a plan",
                    "show": "Show one plan",
                    "usage": "Count the users on each plan",
                },
            ),
        ),
        "db": Group(
            "Migrate the database and show its state",
            {
                **_verbs(
                    "db",
                    {
                        "create": "Create the database",
                        "current": "Show the revision of the database",
                        "drop": "Drop the database",
                    },
                ),
                "env": Group(
                    "Show and change the environment of the database",
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
                        "heads": "Show the newest revisions of the migration files",
                        "history": "List the migration files",
                        "locks": "Show which sessions hold locks, and which wait",
                        "merge": "Join two heads of the migration files",
                        "migrate": "Apply pending revisions",
                        "redo": "Roll the newest revision back and apply it again",
                        "reset": "Delete all rows of bazar's tables",
                        "revision": "Write the next migration file",
                        "rollback": "Roll applied revisions back",
                        "seed": "Create demo users and organizations",
                        "status": "Show the revision and pending revisions",
                        "wait": "Wait until the database accepts connections",
                    },
                ),
            },
        ),
        "audit": Group(
            "List who did what, and verify the audit log",
            _verbs(
                "audit",
                {
                    "export": "Write all events to a file or pipe",
                    "list": "List events, the newest first",
                    "verify": "Verify that no event was changed or removed",
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
                    "mail": "Show the mails that the stack caught",
                    "reset": "Delete the stack's data",
                    "start": "Start the stack and sign in to it",
                    "status": "Show whether the stack runs",
                    "stop": "Stop the stack",
                },
            ),
        ),
        "config": Group(
            "Show and change the settings of this machine",
            {
                **_verbs("config", {"path": "Show the folders of bazar's files"}),
                "profiles": Group(
                    "Manage named targets",
                    _verbs(
                        "config.profiles",
                        {
                            "add": "Store a target as a profile",
                            "list": "List the profiles",
                            "remove": "Delete a profile and its secrets",
                            "use": "Make a profile the active one",
                        },
                    ),
                ),
                **_verbs("config", {"show": "Show each setting with its source"}),
            },
        ),
        "doctor": Leaf("bazar_cli.commands.doctor", "Check the configuration and both systems"),
        "diff": Leaf("bazar_cli.commands.diff", "Show the changes that lead to a declared state"),
        "apply": Leaf("bazar_cli.commands.apply", "Make the changes that lead to a declared state"),
        "batch": Leaf("bazar_cli.commands.batch", "Run many commands, one on each line of a file"),
        "completion": Leaf("bazar_cli.commands.completion", "Print the completion script of a shell"),
        "help": HELP,
        "version": Leaf("bazar_cli.commands.version", "Show versions, and how bazar is installed"),
    },
)

TOPICS = {
    "environment": "The variables that bazar reads",
    "exit-codes": "Exit codes, and errors in JSON",
    "output": "Formats, fields and pages of results",
    "permissions": "What an operator may do, and where",
    "targets": "Which Supabase project and database a command uses",
}
"""What `bazar help` explains besides commands and error codes."""


def resolve(words: "list[str]") -> "tuple[Group | Leaf, int]":
    """Return the command or group that the first words name, and how many these are."""
    node: Group | Leaf = TREE
    for count, word in enumerate(words):
        below = node.commands.get(word) if isinstance(node, Group) else None
        if below is None:
            return node, count
        node = below
    return node, len(words)


def default_of(group: Group) -> "Leaf | None":
    """Return the command that runs when the group is named without one; None where the listing is shown."""
    leaf = group.commands[group.default_command] if group.default_command else None
    assert leaf is None or isinstance(leaf, Leaf), "the default command is a command of the group"
    return leaf
