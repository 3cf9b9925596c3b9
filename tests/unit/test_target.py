"""A target comes whole from one source, the first in the order, and sends no secret in plain text."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from bazar_cli.adapters.config.profiles import Profiles
from bazar_cli.adapters.config.target import TargetChoice, resolve_target
from bazar_cli.domain.errors import ExitCode, UsageError
from bazar_cli.domain.secrets import Secret
from bazar_cli.domain.target import Target, TargetKind, TargetSource
from tests.support.file_states import IS_ROOT, STRANGER

NAMES = (
    "SUPABASE_URL",
    "SUPABASE_KEY",
    "SUPABASE_ANON_KEY",
    "DATABASE_URL",
    "DATABASE_MIGRATION_URL",
    "SUPERUSER_EMAIL",
    "SUPERUSER_PASSWORD",
    "BAZAR_PROFILE",
    "BAZAR_ALLOW_PLAINTEXT",
)


def values(name: str = "x", **others: str) -> dict[str, str]:
    """A whole target whose key tells where it came from."""
    return {
        "SUPABASE_URL": "https://x.supabase.co",
        "SUPABASE_KEY": f"key-of-{name}",
        "DATABASE_URL": "postgresql://u:hunter22@db.example.com/bazar?sslmode=require",
        **others,
    }


def write_env(path: Path, content: Mapping[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}={value}\n" for name, value in content.items()), encoding="utf-8")
    return path


class Shell:
    """A folder and an environment in which a command is typed."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.cwd = folder / "here"
        self.cwd.mkdir()
        self._patch = patch
        for name in NAMES:
            patch.delenv(name, raising=False)
        patch.setenv("BAZAR_CONFIG_DIR", str(folder / "config"))
        self.profiles = Profiles(os.environ)

    def export(self, **variables: str) -> None:
        for name, value in variables.items():
            self._patch.setenv(name, value)

    def target(self, *, profile: str | None = None, env_file: str | None = None) -> Target:
        choice = TargetChoice(profile, Path(env_file) if env_file else None)
        found = resolve_target(choice, os.environ, self.cwd)
        assert isinstance(found, Target)
        return found

    def refusal(self, *, profile: str | None = None, env_file: str | None = None) -> UsageError:
        with pytest.raises(UsageError) as refused:
            self.target(profile=profile, env_file=env_file)
        assert refused.value.exit_code is ExitCode.USAGE
        return refused.value

    def accepts(self, **changed: str) -> Target:
        write_env(self.cwd / ".env", values(**changed))
        return self.target()

    def refuses(self, **changed: str) -> UsageError:
        write_env(self.cwd / ".env", values(**changed))
        return self.refusal()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """An empty folder, an empty configuration, none of the variables set."""
    return Shell(tmp_path, monkeypatch)


# -- the order of sources -----------------------------------------------------------------------------------


def everything_set(shell: Shell) -> None:
    """A whole target at every source."""
    for name in ("flag", "variable", "active"):
        shell.profiles.save(name, values(name), activate=name == "active")
    shell.export(BAZAR_PROFILE="variable", **values("environment"))
    write_env(shell.cwd / "named.env", values("file"))
    write_env(shell.cwd / ".env", values("dotenv"))
    write_env(shell.cwd / "docker/server/.env", values("docker"))


def test_a_flag_comes_before_all_else(shell: Shell) -> None:
    everything_set(shell)

    by_profile = shell.target(profile="flag")
    by_file = shell.target(env_file="named.env")

    assert by_profile.supabase_key.reveal() == "key-of-flag"
    assert (by_profile.source.kind, by_profile.source.name, by_profile.source.explicit) == (
        TargetKind.PROFILE,
        "flag",
        True,
    )
    assert by_file.supabase_key.reveal() == "key-of-file"
    assert (by_file.source.kind, by_file.source.name, by_file.source.explicit) == (
        TargetKind.ENV_FILE,
        "named.env",
        True,
    )


def test_without_flags_the_first_source_in_the_order_wins(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    everything_set(shell)
    order = [shell.target().supabase_key.reveal()]
    monkeypatch.delenv("BAZAR_PROFILE")
    order.append(shell.target().supabase_key.reveal())
    for name in values():
        monkeypatch.delenv(name)
    order.append(shell.target().supabase_key.reveal())
    (shell.cwd / ".env").unlink()
    order.append(shell.target().supabase_key.reveal())
    (shell.cwd / "docker/server/.env").unlink()
    order.append(shell.target().supabase_key.reveal())

    assert order == [f"key-of-{name}" for name in ("variable", "environment", "dotenv", "docker", "active")]


def test_two_flags_name_two_targets(shell: Shell) -> None:
    everything_set(shell)

    refusal = shell.refusal(profile="flag", env_file="named.env")

    assert refusal.code == "target.two_sources"
    assert "--profile flag and --env-file named.env" in refusal.message


def test_no_source_at_all_says_where_it_looked_and_how_to_begin(shell: Shell) -> None:
    refusal = shell.refusal()

    assert refusal.code == "target.missing"
    for place in ("--profile", "--env-file", "BAZAR_PROFILE", "DATABASE_URL", "./.env", "./docker/server/.env"):
        assert place in refusal.message
    assert "bazar local start" in refusal.hint


@pytest.mark.parametrize("variable", [True, False])
def test_an_unknown_profile_names_the_known_ones(shell: Shell, variable: bool) -> None:
    shell.profiles.save("staging", values(), activate=True)
    if variable:
        shell.export(BAZAR_PROFILE="stagging")

    refusal = shell.refusal(profile=None if variable else "stagging")

    assert refusal.code == "target.unknown_profile"
    assert "'stagging'; known: staging" in refusal.message


# -- never mixed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL"])
def test_half_a_target_in_the_environment_is_not_completed_from_a_file(shell: Shell, given: str) -> None:
    write_env(shell.cwd / ".env", values("dotenv"))
    shell.export(**{given: values()[given]})

    refusal = shell.refusal()

    assert refusal.code == "target.incomplete"
    assert refusal.details["missing"] == [name for name in values() if name != given]
    assert "the environment" in refusal.message


def test_half_a_target_in_a_file_is_not_completed_from_the_environment(shell: Shell) -> None:
    shell.export(**values("environment"))
    write_env(shell.cwd / "half.env", {"SUPABASE_URL": "https://x.supabase.co", "SUPABASE_KEY": ""})

    refusal = shell.refusal(env_file="half.env")

    missing = "SUPABASE_KEY, DATABASE_URL are missing"
    assert refusal.message == f"the target of env-file half.env is not complete: {missing}"


def test_half_a_profile_is_not_completed_from_the_environment(shell: Shell) -> None:
    shell.export(**values("environment"))
    shell.profiles.save("half", {"SUPABASE_URL": "https://x.supabase.co", "SUPABASE_KEY": "k"}, activate=False)

    refusal = shell.refusal(profile="half")

    assert refusal.message == "the target of profile half is not complete: DATABASE_URL is missing"


def test_optional_values_of_other_sources_stay_out(shell: Shell) -> None:
    shell.export(SUPERUSER_EMAIL="env@example.com", SUPABASE_ANON_KEY="env", DATABASE_MIGRATION_URL="postgresql:///e")
    write_env(shell.cwd / ".env", values("dotenv", SUPERUSER_EMAIL="file@example.com"))

    target = shell.target()

    assert target.superuser_email == "file@example.com"
    assert (target.anon_key, target.migration_url) == (None, None)


def test_a_file_is_taken_literally(shell: Shell) -> None:
    shell.export(OTHER="from the environment")

    target = shell.accepts(SUPERUSER_PASSWORD="'pa${OTHER}ss'")

    assert target.superuser_password is not None
    assert target.superuser_password.reveal() == "pa${OTHER}ss"


def test_another_programs_env_file_is_passed_over(shell: Shell) -> None:
    shell.profiles.save("active", values("active"), activate=True)
    write_env(shell.cwd / ".env", {"DEBUG": "1", "REDIS_URL": "redis://localhost", "DATABASE_URL": ""})

    assert shell.target().source.name == "active"


def test_an_env_file_that_says_half_is_not_passed_over(shell: Shell) -> None:
    shell.profiles.save("active", values("active"), activate=True)
    write_env(shell.cwd / ".env", {"DATABASE_URL": "postgresql:///other_program"})

    assert shell.refusal().code == "target.incomplete"


@pytest.mark.parametrize("make", ["nothing", "folder", "bytes", "UTF-16"])
def test_an_env_file_that_cannot_be_read_is_named(shell: Shell, make: str) -> None:
    path = shell.cwd / "named.env"
    if make == "folder":
        path.mkdir()
    if make == "bytes":
        path.write_bytes(b"SUPABASE_URL=\xff\xfe")
    if make == "UTF-16":
        path.write_text("SUPABASE_URL=https://x.supabase.co\n", encoding="utf-16-le")

    refusal = shell.refusal(env_file="named.env")

    assert refusal.code == "target.env_file"
    assert str(path) in refusal.message


def test_an_env_file_may_be_written_for_a_shell(shell: Shell) -> None:
    text = "# staging\nexport SUPABASE_URL='https://x.supabase.co'\nSUPABASE_KEY=\"k-1\" # the key\n"
    (shell.cwd / ".env").write_text(f"{text}DATABASE_URL=postgresql:///bazar\n", encoding="utf-8")

    target = shell.target()

    assert (target.supabase_url, target.supabase_key.reveal()) == ("https://x.supabase.co", "k-1")


def test_every_value_of_a_profile_arrives(shell: Shell) -> None:
    shell.profiles.save(
        "whole",
        values(
            SUPABASE_ANON_KEY="anon",
            DATABASE_MIGRATION_URL="postgresql:///direct",
            SUPERUSER_EMAIL="root@example.com",
            SUPERUSER_PASSWORD="toor-toor",
        ),
        activate=False,
    )

    target = shell.target(profile="whole")

    assert target.anon_key is not None
    assert target.migration_url is not None
    assert target.superuser_password is not None
    assert target.anon_key.reveal() == "anon"
    assert target.migration_url.reveal() == "postgresql:///direct"
    assert (target.superuser_email, target.superuser_password.reveal()) == ("root@example.com", "toor-toor")


# -- URLs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "known_as"),
    [
        ("https://x.supabase.co", "https://x.supabase.co"),
        ("https://x.supabase.co/", "https://x.supabase.co"),
        ("https://x.supabase.co/auth/v1/", "https://x.supabase.co"),
        ("https://example.com/supabase", "https://example.com/supabase"),
        ("http://localhost:54321", "http://localhost:54321"),
        ("http://127.0.0.1:54321", "http://127.0.0.1:54321"),
        ("http://[::1]:54321", "http://[::1]:54321"),
    ],
)
def test_a_supabase_url_is_known_without_slash_and_path_of_auth(shell: Shell, url: str, known_as: str) -> None:
    assert shell.accepts(SUPABASE_URL=url).supabase_url == known_as


@pytest.mark.parametrize(
    "url",
    [
        "x.supabase.co",
        "ftp://x.supabase.co",
        "https://",
        "https://x.supabase.co:port",
        "https://user:hunter22@x.supabase.co",
        "https://x.supabase.co?apikey=hunter22",
        "https://x.supabase.co#hunter22",
    ],
)
def test_what_is_no_supabase_url_is_refused_without_repeating_it(shell: Shell, url: str) -> None:
    refusal = shell.refuses(SUPABASE_URL=f"'{url}'")

    assert refusal.code == "target.url_invalid"
    assert "SUPABASE_URL of env-file .env" in refusal.message
    assert "hunter22" not in f"{refusal.message}{refusal.hint}{refusal.details}"


def test_postgres_is_short_for_postgresql(shell: Shell) -> None:
    target = shell.accepts(DATABASE_URL="postgres://u:p@localhost/bazar")

    assert target.database_url.reveal() == "postgresql://u:p@localhost/bazar"


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_MIGRATION_URL"])
@pytest.mark.parametrize(
    "url", ["localhost/bazar", "mysql://u:hunter22@localhost/bazar", "postgresql://u:hunter22@localhost:port/bazar"]
)
def test_what_is_no_database_url_is_refused_without_repeating_it(shell: Shell, name: str, url: str) -> None:
    refusal = shell.refuses(**{name: url})

    assert refusal.code == "target.url_invalid"
    assert refusal.message.startswith(f"{name} of env-file .env")
    assert "hunter22" not in f"{refusal.message}{refusal.hint}{refusal.details}"


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("https://exa..mple.com", "'exa..mple.com' is not a valid host name"),
        (f"https://{'a' * 300}.com", "is not a valid host name"),
        (f"https://{'a.' * 150}com", "253 in all"),
        ("https://-x.supabase.co", "'-x.supabase.co' is not a valid host name"),
        ("https://ex\u00e4mple.com", "xn--"),
        ("https://exa mple.com", "no space"),
        ("https://x.supabase.co:99999", "1 to 65535"),
        ("https://x.supabase.co:0", "1 to 65535"),
        ("HTTPS://x.supabase.co", "must look like https://PROJECT.supabase.co"),
    ],
)
def test_the_rule_that_a_supabase_url_breaks_is_named(shell: Shell, url: str, rule: str) -> None:
    refusal = shell.refuses(SUPABASE_URL=f"'{url}'")

    assert refusal.code == "target.url_invalid"
    assert rule in refusal.message


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_MIGRATION_URL"])
@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("postgresql://u:hunter#22@localhost/x", "# is %23"),
        ("postgresql://u:hunter/22@localhost/x", "/ is %2F"),
        ("postgresql://u:hunter?22@localhost/x", "? is %3F"),
        ("postgresql://u:hunter@22@localhost/x", "@ is %40"),
        ("postgresql://u:hunter%2Z@localhost/x", "% itself is written %25"),
        ("postgresql://u:hunter%002@localhost/x", "must not hold a NUL character"),
        ("postgresql://u:hunter\0x2@localhost/x", "must not hold a NUL character"),
        ("postgresql://u:hunter%0x2@localhost/x", "% itself is written %25"),
        ("postgresql://u:hunter 22@localhost/x", "no space"),
        ("postgresql://u:hunter22@localhost/x\0?sslmode=require", "must not hold a NUL character"),
        ("postgresql://u:hunter\u200b22@localhost/x", "no control character"),
        ("postgresql:u:hunter22@localhost/x", "must look like postgresql://"),
        ("u:hunter22@localhost/x", "must look like postgresql://"),
        ("postgresql://u:hunter22@localhost:99999/x", "1 to 65535"),
        ("postgresql://u:hunter22@/x?port=99999", "1 to 65535"),
        ("postgresql://u:hunter22@exa..mple.com/x?sslmode=require", "'exa..mple.com' is not a valid host name"),
        ("postgresql://u:hunter22@localhost/x?sslmode=hunter22", "sslmode must be one of"),
        ("postgresql://u:hunter22@localhost/x?hunter22", "must have name=value"),
        ("postgresql://u:hunter22@localhost/x?service=elsewhere", "service= would mix in another source"),
        (
            "postgresql://u:hunter22@localhost/x?replication=database",
            "replication= would open a replication",
        ),
    ],
)
def test_the_rule_that_a_database_url_breaks_is_named(shell: Shell, name: str, url: str, rule: str) -> None:
    shell.profiles.save("staging", values(**{name: url}), activate=True)

    refusal = shell.refusal()

    assert refusal.code == "target.url_invalid"
    assert rule in refusal.message
    assert "hunter" not in f"{refusal.message}{refusal.hint}{refusal.details}"


def test_a_parameter_that_libpq_does_not_know_is_named_with_what_to_do(shell: Shell) -> None:
    prisma = shell.refuses(DATABASE_URL="postgresql://u:hunter22@localhost/x?pgbouncer=true")
    other = shell.refuses(DATABASE_URL="postgresql://u:hunter22@localhost/x?sslmode=require&nope=hunter22")

    assert prisma.code == other.code == "target.parameter_unknown"
    assert "remove pgbouncer=... from DATABASE_URL" in prisma.hint
    assert "works through a pooler without it" in prisma.hint
    assert (other.details, "hunter22" in f"{other.message}{other.hint}") == ({"parameter": "nope"}, False)


@pytest.mark.parametrize("name", ["SUPABASE_KEY", "SUPABASE_ANON_KEY"])
@pytest.mark.parametrize("key", ["hunter\u00e9", "hunter22 ", " hunter22", "hunter 22", "hunter22\n", "hunter\x0722"])
def test_a_key_that_no_header_can_hold_is_refused_without_repeating_it(shell: Shell, name: str, key: str) -> None:
    shell.export(**values(**{name: key}))

    refusal = shell.refusal()

    assert refusal.code == "target.key_invalid"
    assert refusal.message.startswith(f"{name} of the environment")
    assert "hunter" not in f"{refusal.message}{refusal.hint}{refusal.details}"


# -- no secret in plain text --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "url", "host"),
    [
        ("SUPABASE_URL", "http://x.supabase.co", "x.supabase.co"),
        ("SUPABASE_URL", "http://10.0.0.5:54321", "10.0.0.5"),
        ("SUPABASE_URL", "http://localhost.example.com", "localhost.example.com"),
        ("DATABASE_URL", "postgresql://u:hunter22@db.example.com/bazar", "db.example.com"),
        ("DATABASE_URL", "postgresql://u:hunter22@db.example.com/bazar?sslmode=prefer", "db.example.com"),
        ("DATABASE_URL", "postgresql://u:hunter22@db.example.com/bazar?sslmode=disable", "db.example.com"),
        ("DATABASE_URL", "postgresql://u:hunter22@localhost,db.example.com/bazar", "db.example.com"),
        ("DATABASE_URL", "postgresql://u:hunter22@localhost:1,db.example.com:2/bazar", "db.example.com"),
        ("DATABASE_URL", "postgresql://u:hunter22@localhost/bazar?host=db.example.com", "db.example.com"),
        ("DATABASE_MIGRATION_URL", "postgresql://u:hunter22@db.example.com/bazar", "db.example.com"),
        ("SUPABASE_URL", "http://127.example.com", "127.example.com"),
        ("DATABASE_URL", "postgresql://u:hunter22@127.example.com/bazar", "127.example.com"),
        ("DATABASE_URL", "postgresql://u:hunter22@localhost/bazar?hostaddr=203.0.113.7", "203.0.113.7"),
        ("DATABASE_URL", "postgresql://u:hunter22@/bazar?host=localhost&host=db.example.com", "db.example.com"),
        (
            "DATABASE_URL",
            "postgresql://u:hunter22@db.example.com/bazar?sslmode=require&sslmode=disable",
            "db.example.com",
        ),
    ],
)
def test_plain_text_to_another_machine_is_refused(shell: Shell, name: str, url: str, host: str) -> None:
    refusal = shell.refuses(**{name: url})

    assert refusal.code == "target.plaintext_refused"
    assert refusal.details == {"host": host}
    assert f"BAZAR_ALLOW_PLAINTEXT={host}" in refusal.hint
    assert "hunter22" not in f"{refusal.message}{refusal.hint}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@db.example.com/bazar?sslmode=require",
        "postgresql://u:p@db.example.com/bazar?sslmode=verify-ca",
        "postgresql://u:p@db.example.com/bazar?sslmode=verify-full",
        "postgresql://u:p@localhost:5432/bazar",
        "postgresql://u:p@127.0.0.1/bazar",
        "postgresql://u:p@127.8.9.10/bazar",
        "postgresql://u:p@[::1]:5432/bazar",
        "postgresql:///bazar",
        "postgresql://u@/bazar?host=%2Fvar%2Frun%2Fpostgresql&port=5432",
    ],
)
def test_encrypted_or_to_this_machine_is_accepted(shell: Shell, url: str) -> None:
    assert shell.accepts(DATABASE_URL=url).database_url.reveal() == url


@pytest.mark.parametrize("allowed", ["gateway,db", "gateway db", " db, gateway "])
def test_hosts_named_by_the_shell_may_get_plain_text(shell: Shell, allowed: str) -> None:
    shell.export(BAZAR_ALLOW_PLAINTEXT=allowed)

    target = shell.accepts(SUPABASE_URL="http://gateway:8000", DATABASE_URL="postgresql://u:p@db/bazar")

    assert target.supabase_url == "http://gateway:8000"


def test_only_the_named_hosts_may_get_plain_text(shell: Shell) -> None:
    shell.export(BAZAR_ALLOW_PLAINTEXT="gateway")

    refusal = shell.refuses(SUPABASE_URL="http://gateway:8000", DATABASE_URL="postgresql://u:p@db/bazar")

    assert refusal.details == {"host": "db"}


def test_a_target_hides_its_secrets(shell: Shell) -> None:
    target = shell.accepts(SUPERUSER_PASSWORD="toor-toor")

    assert "hunter22" not in repr(target)
    assert "key of" not in repr(target)
    assert "toor" not in repr(target)


def test_an_env_file_without_end_is_refused(shell: Shell) -> None:
    with pytest.raises(UsageError, match="File too large") as refused:
        resolve_target(TargetChoice(env_file=Path("/dev/zero")), os.environ, shell.cwd)

    assert refused.value.code == "target.env_file"


# -- env files that others could have written ---------------------------------------------------------------


@pytest.mark.parametrize("name", [".env", "docker/server/.env"])
@pytest.mark.parametrize("opened", ["file", "folder"])
def test_a_default_env_file_that_others_can_write_is_refused_and_named(shell: Shell, name: str, opened: str) -> None:
    shell.profiles.save("active", values("active"), activate=True)
    path = write_env(shell.cwd / name, values("stranger"))
    (path if opened == "file" else path.parent).chmod(0o757)

    refusal = shell.refusal()

    assert refusal.code == "target.env_file_open"
    assert str(path) in refusal.message
    assert f"`--env-file {name}`" in refusal.hint
    assert shell.target(profile="active").supabase_key.reveal() == "key-of-active"


def test_a_default_env_file_that_is_a_link_is_refused(shell: Shell) -> None:
    elsewhere = write_env(shell.cwd.parent / "elsewhere.env", values("elsewhere"))
    (shell.cwd / ".env").symlink_to(elsewhere)

    assert shell.refusal().code == "target.env_file_open"
    assert shell.target(env_file=".env").supabase_key.reveal() == "key-of-elsewhere"


@pytest.mark.parametrize("link", ["docker", "docker/server"])
def test_a_default_env_file_behind_a_folder_that_is_a_link_is_refused(shell: Shell, link: str) -> None:
    elsewhere = shell.cwd.parent / "elsewhere"
    name = "docker/server/.env"
    write_env(elsewhere / Path(name).relative_to(link), values("elsewhere"))
    (shell.cwd / link).parent.mkdir(exist_ok=True)
    (shell.cwd / link).symlink_to(elsewhere)

    refusal = shell.refusal()

    assert refusal.code == "target.env_file_open"
    assert f"the folder {shell.cwd / link} is a link" in refusal.message
    assert shell.target(env_file=name).supabase_key.reveal() == "key-of-elsewhere"


@pytest.mark.parametrize("opened", ["", "docker"])
def test_a_default_env_file_below_a_folder_that_others_can_write_is_refused(shell: Shell, opened: str) -> None:
    write_env(shell.cwd / "docker/server/.env", values("stranger"))
    (shell.cwd / opened).chmod(0o757)

    assert shell.refusal().code == "target.env_file_open"


def test_nobody_is_told_to_close_a_folder_that_all_users_share(shell: Shell) -> None:
    write_env(shell.cwd / ".env", values("mine"))
    shell.cwd.chmod(0o1777)

    assert "chmod" not in shell.refusal().hint


@pytest.mark.parametrize("make", ["folder", "pipe", "dangling", "another program's"])
def test_what_is_no_env_file_of_a_target_is_passed_over(shell: Shell, make: str) -> None:
    shell.profiles.save("active", values("active"), activate=True)
    path = shell.cwd / ".env"
    if make == "folder":
        path.mkdir()
    elif make == "pipe":
        os.mkfifo(path)
    elif make == "dangling":
        path.symlink_to("nowhere")
    else:
        write_env(path, {"DEBUG": "1"}).chmod(0o666)

    assert shell.target().source.name == "active"


def test_an_env_file_by_hand_counts_with_a_warning(shell: Shell) -> None:
    path = write_env(shell.cwd / "theirs.env", values("theirs"))
    path.chmod(0o666)
    told: list[str] = []

    target = resolve_target(TargetChoice(None, Path("theirs.env")), os.environ, shell.cwd, warn=told.append)

    assert isinstance(target, Target)
    assert target.supabase_key.reveal() == "key-of-theirs"
    [text] = told
    assert str(path) in text
    assert "other users can change it" in text


@pytest.mark.skipif(not IS_ROOT, reason="only root gives files away")
@pytest.mark.parametrize("given", ["file", "folder"])
def test_root_does_not_believe_a_users_env_file(shell: Shell, given: str) -> None:
    path = write_env(shell.cwd / ".env", values("theirs"))
    os.chown(path if given == "file" else path.parent, STRANGER, STRANGER)

    refusal = shell.refusal()

    assert refusal.code == "target.env_file_open"
    assert f"uid {STRANGER}" in refusal.message


# -- what a target is called --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "embedded", "shown", "session"),
    [
        (TargetKind.PROFILE, "local", True, "profile local", "local"),
        (TargetKind.PROFILE, "staging", False, "profile staging", "staging"),
        (TargetKind.ENV_FILE, "local", False, "env-file local", "https://x"),
        (TargetKind.ENVIRONMENT, "environment", False, "the environment", "https://x"),
    ],
)
def test_a_source_is_named(kind: TargetKind, name: str, embedded: bool, shown: str, session: str) -> None:
    source = TargetSource(kind, name)
    target = Target(source, "https://x", Secret("k"), Secret("postgresql:///a"))
    assert (source.embedded, str(source), target.session_name) == (embedded, shown, session)


def test_migrations_have_a_url_of_their_own_where_one_is_set() -> None:
    source = TargetSource(TargetKind.PROFILE, "staging")
    plain = Target(source, "https://x", Secret("k"), Secret("postgresql:///a"))
    both = Target(source, "https://x", Secret("k"), Secret("postgresql:///a"), migration_url=Secret("postgresql:///b"))
    assert plain.to_migrate is plain
    found = both.to_migrate
    assert (found.database_url.reveal(), found.migration_url) == ("postgresql:///b", None)
    assert (plain.database_variable, found.database_variable) == ("DATABASE_URL", "DATABASE_MIGRATION_URL")
