"""The variables that make a target, each read whole from one source (design section 3).

Sources are never mixed: one class reads the process environment, the other one env file.
"""

from __future__ import annotations

from io import StringIO

from dotenv import dotenv_values
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)


class TargetVariables(BaseSettings):
    """The contract's environment names; an empty value counts as not set."""

    model_config = SettingsConfigDict(case_sensitive=True, extra="ignore", env_ignore_empty=True)

    SUPABASE_URL: str | None = None
    SUPABASE_KEY: str | None = None
    SUPABASE_ANON_KEY: str | None = None
    DATABASE_URL: str | None = None
    DATABASE_MIGRATION_URL: str | None = None
    SUPERUSER_EMAIL: str | None = None
    SUPERUSER_PASSWORD: str | None = None

    def given(self) -> dict[str, str]:
        """Return what is set, by name."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class EnvironmentVariables(TargetVariables):
    """Reads the process environment and nothing else."""

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
    """Takes what one file says and nothing else."""

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
    """Return what the text of an env file sets, taken literally."""
    # Replacing ${NAME} would mix the process environment in, and change keys and passwords.
    values = dotenv_values(stream=StringIO(text, newline=None), interpolate=False)
    return FileVariables(**{name: value or None for name, value in values.items()}).given()
