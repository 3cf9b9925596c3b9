"""The variables that make a target. One class reads the process environment, the other reads one env file."""

from __future__ import annotations

import re
from io import StringIO

from dotenv.parser import Binding, parse_stream
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)


class TargetVariables(BaseSettings):
    """The environment names that `bazar help environment` lists; an empty value counts as not set."""

    model_config = SettingsConfigDict(case_sensitive=True, extra="ignore", env_ignore_empty=True)

    SUPABASE_URL: str | None = None
    SUPABASE_KEY: str | None = None
    SUPABASE_ANON_KEY: str | None = None
    DATABASE_URL: str | None = None
    DATABASE_MIGRATION_URL: str | None = None
    SUPERUSER_EMAIL: str | None = None
    SUPERUSER_PASSWORD: str | None = None
    BAZAR_API_URL: str | None = None

    def given(self) -> dict[str, str]:
        """Return the values that are set, by name."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class EnvironmentVariables(TargetVariables):
    """Reads the process environment only."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (EnvSettingsSource(settings_cls),)


class FileVariables(TargetVariables):
    """Takes the values of one file only."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def variables_of_text(text: str) -> dict[str, str]:
    """Return the variables of an env file, taken literally. The last value of a name counts.

    Raises: MalformedLine; ValueError for a NUL character.
    """
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    # Not `dotenv_values`, which skips lines that it cannot read, and replaces ${NAME} from the process environment.
    values = dict(map(_checked, parse_stream(StringIO(text))))
    return FileVariables(**{name: value or None for name, value in values.items()}).given()


def names_a_target(content: bytes) -> bool:
    """Say whether a line of an env file begins with the name of a variable of a target, well-formed or not.

    A file without such a line belongs to another program, with any encoding and form.
    """
    # Without NULs, UTF-16 shows its ASCII letters.
    return _NAMING.search(content.replace(b"\0", b"")) is not None


class MalformedLine(ValueError):
    """A line of an env file that sets no variable, or more than it seems to. Its text may be a secret."""

    def __init__(self, binding: Binding, reason: str) -> None:
        text = binding.original.string
        blank = text[: len(text) - len(text.lstrip())]
        self.line = binding.original.line + len(_LINE_BREAK.findall(blank))
        """Counted from 1."""
        self.reason = reason
        super().__init__(f"line {self.line}: {reason}")


_LINE_BREAK = re.compile(r"\r\n|\n|\r")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_BEGINNING = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)\s*(?P<quote>=\s*['\"])?")
_INSIDE = re.compile(rf"[\r\n]\s*(?:export\s+)?(?:{'|'.join(TargetVariables.model_fields)})\s*=")
_NAMING = re.compile(
    rf"(?:^|[\r\n])[^=#\r\n]*(?<![\w.-])(?:{'|'.join(TargetVariables.model_fields)})(?![\w.-])".encode()
)
"""Before any = and #, so that a name in a comment or a value does not count."""
_FORM = "it is not NAME=value"


def _checked(binding: Binding) -> tuple[str, str | None]:
    """Return name and value of a line; comments and blank lines have the name "". Raises: MalformedLine."""
    text = binding.original.string
    if binding.error:
        found = _BEGINNING.match(text)
        if found and found["quote"]:
            raise MalformedLine(binding, f"the quote of {found['name']} is not closed, or text follows it")
        raise MalformedLine(binding, _FORM)
    if binding.key is None:
        return "", None
    if binding.value is None or not _NAME.fullmatch(binding.key):
        raise MalformedLine(binding, _FORM)
    if _INSIDE.search(text.lstrip()):
        # The next quote, on a later line, closes it: the variables in between would be lost.
        raise MalformedLine(binding, f"the quote of {binding.key} is not closed before the next variable")
    return binding.key, binding.value
