"""The context of a verb: its target, identity, gate and both systems, each made on first use, and its input."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from bazar_cli.domain.authz.spec import Access, Spec
from bazar_cli.domain.consent import ConsentNeeded, Impact, with_consent
from bazar_cli.domain.errors import Refused, UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import RemoteTarget
from bazar_cli.domain.texts import normalized
from bazar_cli.terminal.options import Options
from bazar_cli.terminal.prompt import Prompter, secret_from_stdin
from bazar_cli.terminal.redact import Redactor
from bazar_cli.terminal.run_output import RunOutput, current_folder
from bazar_cli.terminal.shared import Shared
from bazar_cli.terminal.streams import readable_input, say
from bazar_cli.terminal.views.base import View

if TYPE_CHECKING:
    from bazar_cli.adapters.config.target import TargetChoice
    from bazar_cli.adapters.import_file import ImportFile
    from bazar_cli.adapters.remote.client import ApiClient
    from bazar_cli.domain.exports import WrittenRows
    from bazar_cli.domain.page import Page
    from bazar_cli.domain.target import Identity, Session, Target
    from bazar_cli.services.account import Account
    from bazar_cli.services.gate.backends import Backends
    from bazar_cli.services.gate.gate import Gate
    from bazar_cli.services.gate.identities import Identities, SignInSettings
    from bazar_cli.services.gate.performer import Performer, UseCase
    from bazar_cli.services.remote.credentials import Credentials
    from bazar_cli.terminal.progress import ProgressMode

T = TypeVar("T")
R = TypeVar("R")
Request = TypeVar("Request")


@dataclass(frozen=True)
class Context:
    """The values that a process passes to its command."""

    environ: Mapping[str, str]
    request_id: str
    shared: Shared
    redactor: Redactor


class Run(RunOutput[T]):
    """One run of one command whose results are shown by a `View[T]`."""

    def __init__(
        self, spec: Spec, view: View[T] | None, options: Options, context: Context, *, streams: bool = False
    ) -> None:
        super().__init__(spec, view, options, context.environ, context.redactor, streams=streams)
        self._shared = context.shared
        self.request_id = context.request_id
        self.logs = False
        """Whether log lines are written also where no option asks for them."""
        self.prompter = Prompter(context.environ, no_input=options.no_input)

    # -- target, identity, systems ------------------------------------------------------------------------

    @cached_property
    def choice(self) -> TargetChoice:
        """The target that the flags name."""
        from bazar_cli.services.config import choose

        return choose(self.options.profile, self.options.env_file)

    @cached_property
    def any_target(self) -> Target | RemoteTarget:
        """The target of this command. Raises: UsageError `target.*`."""
        from bazar_cli.services.config import target_of

        def find() -> Target | RemoteTarget:
            return target_of(
                self.choice, self.environ, current_folder(), self._shared.redactor.remember_values, self.warn_of_source
            )

        return self._shared.target(self.choice, find)

    @property
    def target(self) -> Target:
        """The direct target of this command. Raises: UsageError `target.*`, `target.needs_direct` for a remote one."""
        found = self.any_target
        if isinstance(found, RemoteTarget):
            raise needs_direct(self.spec, found)
        return found

    @property
    def known_target(self) -> Target | RemoteTarget | None:
        """The target, if the command has asked for it."""
        return self.__dict__.get("any_target")

    @property
    def known_operator(self) -> Identity | Session | None:
        """The operator, if the command has asked for a proven identity or a stored session."""
        if "identities" in self.__dict__:
            return self.identities.known
        credential = self.credentials.known if "credentials" in self.__dict__ else None
        return credential.session if credential else None

    @property
    def token(self) -> Secret | None:
        """BAZAR_TOKEN."""
        token = self.environ.get("BAZAR_TOKEN")
        return Secret(token) if token else None

    @cached_property
    def sign_in(self) -> SignInSettings:
        """The ways to sign in of this process."""
        from bazar_cli.services.gate.identities import SignInSettings

        return SignInSettings(self.environ, self.token, prompt_possible=self.prompter.possible)

    @cached_property
    def identities(self) -> Identities:
        """Finds and verifies the identity of the operator."""
        return self._shared.identities(self.target, self.sign_in)

    @cached_property
    def backends(self) -> Backends:
        """Both systems of the target."""
        return self._shared.backends(self.target, self.request_id)

    @cached_property
    def gate(self) -> Gate:
        """Checks whether the operator is allowed to run the command."""
        from bazar_cli.services.gate.gate import Gate

        return Gate(self.backends, self.identities)

    @cached_property
    def api(self) -> ApiClient:
        """The server of a remote target."""
        assert isinstance(self.any_target, RemoteTarget), "a direct target has no API"
        return self._shared.api(self.any_target, self.environ, self.request_id)

    @cached_property
    def credentials(self) -> Credentials:
        """Finds the access token for a remote target."""
        from bazar_cli.services.remote.credentials import Credentials

        assert isinstance(self.any_target, RemoteTarget), "a direct target proves an identity"
        return Credentials(self.any_target, self.sign_in, self.api)

    @cached_property
    def performer(self) -> Performer:
        """Runs the use case of this command on its target. Raises: UsageError `target.*`."""
        if not isinstance(self.any_target, RemoteTarget):
            return self.gate
        if self.spec.route is None:
            raise needs_direct(self.spec, self.any_target)
        from bazar_cli.services.remote.remote import Remote

        return Remote(self.credentials, self.api)

    @cached_property
    def account(self) -> Account:
        """The operator's own account on the target. Raises: UsageError `target.*`."""
        if isinstance(self.any_target, RemoteTarget):
            from bazar_cli.services.remote.account import RemoteAccount

            return RemoteAccount(self.any_target, self.credentials, self.api)
        from bazar_cli.services.account import DirectAccount

        return DirectAccount(self.backends, self.identities, self.gate, self.environ)

    def perform(self, service: UseCase[Request, R], request: Request, *, only_shows: bool = False) -> R:
        """Run the use case with the operator's rights; ask for consent where it needs it.

        Parameters: `only_shows` says that an option makes the command write nothing, as a dry run does.
        Raises: as `Performer.perform` and `with_consent`.
        """
        if self.spec.access is Access.PUBLIC:
            raise ValueError(f"{self.spec.name} is public: it calls its service itself")
        dry_run = self.options.dry_run or only_shows

        def act(asked: Request) -> R:
            return self.performer.perform(service, self.spec, asked, dry_run=dry_run)

        result = self.with_consent(act, request)
        self.notice_dry_run()
        return result

    def show_pages(self, service: UseCase[Any, Page[T]], request: Any, *, every: bool) -> None:
        """Show one page of a list, or all pages with `every`. Raises: as `Performer.prepared` and `show_fetched`."""
        self.show_fetched(self.performer.prepared(service, self.spec, request), request, every=every)

    def export(
        self,
        service: UseCase[Request, Iterator[Page[T] | WrittenRows]],
        request: Request,
        file: str | None,
        *,
        overwrite: bool,
        progress: ProgressMode | None = None,
    ) -> None:
        """Write all rows to standard output or a new file. Raises: as `Performer.prepared` and `export_parts`."""
        parts = self.performer.prepared(service, self.spec, request)(request)
        self.export_parts(parts, file, overwrite=overwrite, progress=progress)

    def notice_dry_run(self) -> bool:
        """Say in a dry run that nothing was written; return whether it was one."""
        if self.options.dry_run:
            self.notice("dry run: nothing was written")
        return self.options.dry_run

    def with_consent(self, act: Callable[[Request], R], request: Request) -> R:
        """Call `act`; while it needs consent, ask, and call it again with the request that has the answer.

        An impact that changed meanwhile is shown and asked for again. Raises: as `act` and `agree`.
        """
        while True:
            try:
                return act(request)
            except ConsentNeeded as needed:
                request = with_consent(request, self.agree(needed.impact))

    def agree(self, impact: Impact) -> Impact:
        """Show an impact, ask for consent, and return what was agreed to.

        --yes agrees for any number of users, but types no word.
        Raises: ConsentNeeded without a terminal to ask on; Refused for a no, or another word.
        """
        if impact.word is None and self.options.yes:
            self.notice(impact.text)
            return impact.for_any_number()
        if not self.prompter.possible:
            raise ConsentNeeded(impact)
        question = f"{impact.text}. {impact.question}"
        if impact.word is not None:
            return impact.confirmed_by(self.prompter.word(question))
        if not self.prompter.yes(question):
            raise Refused("input.consent", "not confirmed; nothing was done", details=impact.details)
        return impact

    # -- input --------------------------------------------------------------------------------------------

    def read_password(self, question: str, *, from_stdin: bool, twice: bool = False) -> Secret:
        """Read a password from standard input or ask for it, and say which Auth service receives it.

        Raises: UsageError `input.*`, `target.*`.
        """
        if from_stdin:
            if not self.errors_are_json:
                self.notice(self._receiver())
            return secret_from_stdin("password")
        if self.prompter.possible:
            # A part of the question, so it is written with --quiet, too.
            receiver = self._receiver()
            self.write_waiting()
            say(receiver)
        return self.prompter.secret(question, option="--password-stdin", twice=twice)

    def read_file(self, file: str, limit: int) -> tuple[str, str]:
        """Read a file, or standard input for `-`, of at most `limit` bytes; return its text and its name in messages.

        Raises: UsageError `usage.invalid_value` for an empty name, `input.unreadable`; as `adapters.files.read_text`.
        """
        from bazar_cli.adapters.files import decoded, read_text

        if file == "-":
            named = "standard input"
            return normalized(decoded(readable_input().read(limit + 1), limit, named=named)), named
        if not file:
            raise UsageError("usage.invalid_value", "--file is empty", hint="name a file, or - for standard input")
        return normalized(read_text(current_folder() / file, limit, named=file)), file

    @contextmanager
    def opened(self, file: str) -> Generator[int]:
        """Lend the descriptor of a file, or of standard input for `-`.

        Raises: UsageError `usage.invalid_value` for an empty name, `input.unreadable`; as `adapters.files.open_input`.
        """
        from bazar_cli.adapters.files import open_input

        if file == "-":
            yield readable_input().fileno()
            return
        if not file:
            raise UsageError("usage.invalid_value", "FILE is empty", hint="name a file, or - for standard input")
        descriptor = open_input(current_folder() / file, named=file)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def import_file(self, file: str) -> Generator[ImportFile]:
        """Lend a file that can be read several times, or standard input for `-`. Raises: as `opened`, `import_file`."""
        from bazar_cli.adapters.import_file import import_file

        named = "standard input" if file == "-" else file
        with self.opened(file) as descriptor, import_file(descriptor, named) as found:
            yield found

    def read_hash(self) -> Secret:
        """Read a password hash from standard input. Raises: UsageError `input.*`."""
        return secret_from_stdin("password hash")

    def remember_secrets(self, values: Mapping[str, str]) -> None:
        """Hide the secrets of a target that is not the one of this command line."""
        self.redactor.remember_values(values)

    def _receiver(self) -> str:
        return self.as_message(f"the password is sent to {self.account.server} at {self.account.url}")


def needs_direct(spec: Spec, target: RemoteTarget) -> UsageError:
    """Return the error of a command that the API does not have."""
    return UsageError(
        "target.needs_direct",
        f"`bazar {spec.name.replace('.', ' ')}` needs a direct target, and {target.source} names the API at"
        f" {target.api_url}",
        hint="name a target with SUPABASE_URL, SUPABASE_KEY and DATABASE_URL by --profile or --env-file, or unset"
        " BAZAR_API_URL and set them",
        details={"api_url": target.api_url, "source": target.source.kind.value, "name": target.source.name},
    )
