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
        "serve": Leaf("bazar_cli.commands.serve", "Serve the HTTP API"),
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


SYNONYMS = {
    "": {
        "apply": "sync",
        "audit list": "event events history log logs",
        "auth login": "login sign-in signin",
        "auth logout": "logout sign-out signout",
        "auth status": "session whoami",
        "auth token": "token",
        "config profiles": "context contexts profile profiles target targets",
        "config show": "setting settings",
        "db": "database migration migrations schema",
        "db migrate": "migrate push upgrade",
        "db reset": "reset",
        "db rollback": "rollback downgrade",
        "db seed": "demo seed",
        "diff": "compare",
        "doctor": "check health ping",
        "local": "stack",
        "local mail": "inbox mail mails",
        "local start": "start up",
        "local stop": "down stop",
        "orgs": "org organisation organisations organization organizations team teams",
        "orgs members": "member members membership memberships role roles",
        "plans": "plan",
        "plans matrix": "permission permissions",
        "users": "account accounts user",
        "users create EMAIL --invite": "invitation invitations invite",
        "users export": "export",
        "users import": "import",
        "users me": "me",
        "version": "about info",
    },
    "auth": {
        "auth login": "in sign-in signin",
        "auth logout": "out sign-out signout",
        "auth password": "passwd",
        "auth refresh": "renew",
        "auth status": "get info me show whoami",
    },
    "users": {
        "audit list --target USER": "audit history log logs",
        "orgs members add ORG USER": "join",
        "orgs members list ORG": "members roles",
        "orgs members remove ORG USER": "leave remove",
        "plans assign USER PLAN": "assign plan upgrade downgrade",
        "users create": "add make new register",
        "users create EMAIL --invite": "invitation invite",
        "users delete": "destroy erase remove rm",
        "users get": "describe find info show view",
        "users list": "ls",
        "users list --search TEXT": "find search",
        "users me": "self whoami",
        "users promote": "admin superuser",
        "users reset-password": "passwd password recover reset",
        "users restore": "activate enable reactivate unban unblock undelete unlock unsuspend",
        "users sessions": "logins session",
        "users sessions revoke USER": "kick logout sign-out signout",
        "users suspend": "ban block deactivate disable lock offboard",
        "users update": "change edit modify rename set",
    },
    "users imports": {
        "users import": "create new run start",
        "users imports list": "ls",
        "users imports show": "get view",
        "users imports undo": "delete remove revert rm rollback",
    },
    "users sessions": {
        "users sessions list": "get ls show",
        "users sessions revoke": "delete end kill logout remove rm",
    },
    "orgs": {
        "audit list --target ORG": "audit history log logs",
        "orgs create": "add make new",
        "orgs delete": "destroy remove rm",
        "orgs get": "describe info show view",
        "orgs list": "find ls search",
        "orgs members": "member membership memberships people role roles users",
        "orgs members add": "invite join",
        "orgs members update ORG USER --role owner": "transfer",
        "orgs update": "change edit modify rename set",
    },
    "orgs members": {
        "orgs members add": "create invite join new",
        "orgs members list": "get ls show",
        "orgs members remove": "delete kick leave rm",
        "orgs members update": "change edit promote role set transfer",
    },
    "plans": {
        "plans assign": "change set upgrade downgrade",
        "plans check": "can may",
        "plans explain": "why",
        "plans grant": "add allow",
        "plans list": "ls",
        "plans matrix": "permission permissions table",
        "plans revoke": "deny disallow remove rm",
        "plans show": "describe get info view",
        "plans usage": "count counts stats",
    },
    "db": {
        "db create": "init new",
        "db current": "version",
        "db drop": "delete destroy remove rm",
        "db env": "environment protect",
        "db history": "list log ls",
        "db locks": "blockers sessions",
        "db migrate": "apply deploy push up upgrade",
        "db reset": "clean truncate wipe",
        "db revision": "add generate make makemigrations",
        "db rollback": "down downgrade revert undo",
        "db seed": "demo fill populate",
        "db status": "check info pending show",
        "db wait": "ping ready",
    },
    "db env": {"db env set": "change edit protect", "db env show": "get list ls view"},
    "audit": {
        "audit export": "backup download",
        "audit list": "events find get history log logs ls search show tail view",
        "audit verify": "check validate",
    },
    "local": {
        "local env": "environment export",
        "local logs": "log tail",
        "local mail": "inbox mails",
        "local reset": "clean delete destroy remove rm wipe",
        "local start": "create init run up",
        "local status": "info ps show",
        "local stop": "down kill shutdown",
    },
    "config": {
        "config path": "dir folder folders paths where",
        "config profiles": "context contexts profile target targets",
        "config profiles add": "add new set",
        "config profiles use": "select switch use",
        "config show": "get list ls print view",
    },
    "config profiles": {
        "config profiles add": "create new save set",
        "config profiles list": "get ls show view",
        "config profiles remove": "delete rm",
        "config profiles use": "activate select set-default switch",
    },
}
"""By the words of a group: command lines, and the words that users try there instead."""

NEVER_BY_LETTERS = frozenset(
    {
        *("delete", "demote", "drop", "logout", "redo", "remove", "reset"),
        *("restore", "revoke", "rollback", "stop", "suspend", "undo"),
    }
)
"""Commands that destroy or reverse something. A mistyped word that only resembles one never suggests it."""

OPTIONS_ELSEWHERE = {
    "users create": {"--password": "users create EMAIL --password-stdin"},
    "users list": {"--role": "orgs members list ORG"},
    "users update": {
        "--org": "orgs members add ORG USER",
        "--password": "users reset-password USER",
        "--password-stdin": "users reset-password USER",
        "--plan": "plans assign USER PLAN",
        "--role": "orgs members update ORG USER --role ROLE",
        "--slug": "orgs update ORG --slug SLUG",
        "--state": "users suspend USER",
        "--superuser": "users promote USER",
    },
    "orgs create": {"--plan": "plans assign USER PLAN"},
    "orgs update": {"--owner": "orgs members update ORG USER --role owner", "--plan": "plans assign USER PLAN"},
    "orgs members update": {"--plan": "plans assign USER PLAN"},
}
"""By command: an option that it does not have, and the command line that does what the option asks for."""


def named_by(group: str, word: str) -> "list[str]":
    """Return the command lines for which users write `word` below the words of a group."""
    return [line for line, words in SYNONYMS.get(group, {}).items() if word in words.split()]


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
