"""An env file counts whole or not at all, and a value is named for what was copied with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bazar_cli.adapters.config.folders import config_dir, data_dir
from bazar_cli.adapters.config.settings import MalformedLine, variables_of_text
from bazar_cli.adapters.config.target import TargetChoice, direct_from, resolve_target
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.surplus import surplus
from bazar_cli.domain.target import TargetKind, TargetSource

TARGET = {
    "SUPABASE_URL": "https://x.supabase.co",
    "SUPABASE_KEY": "sb_secret_hunter22",
    "DATABASE_URL": "postgresql://u:hunter22@localhost/bazar",
}
WHOLE = "".join(f"{name}={value}\n" for name, value in TARGET.items())
BY_HAND = TargetSource(TargetKind.PROFILE, "staging")
MIGRATION = "postgresql://u:hunter22@localhost/direct"

MALFORMED = {
    "double quote left open": f'DATABASE_MIGRATION_URL="{MIGRATION}',
    "single quote left open": f"DATABASE_MIGRATION_URL='{MIGRATION}",
    "text behind the quote": f'DATABASE_MIGRATION_URL="{MIGRATION}"hunter22',
    "quote inside quotes": f"DATABASE_MIGRATION_URL='{MIGRATION}'s'",
    "no equals sign": "DATABASE_MIGRATION_URL",
    "exported, no equals sign": "export DATABASE_MIGRATION_URL",
    "YAML": f"DATABASE_MIGRATION_URL: {MIGRATION}",
    "YAML without a space": f"DATABASE_MIGRATION_URL:{MIGRATION}?sslmode=require",
    "quoted name": f'"DATABASE_MIGRATION_URL"={MIGRATION}',
    "PowerShell": f"$env:DATABASE_MIGRATION_URL = '{MIGRATION}'",
    "cmd": f"set DATABASE_MIGRATION_URL={MIGRATION}",
    "space in the name": f"DATABASE MIGRATION_URL={MIGRATION}",
    "value alone": MIGRATION,
    "invisible character in the name": f"DATABASE_\u200bMIGRATION_URL={MIGRATION}",
    "no name": f"={MIGRATION}",
    "a merge": "<<<<<<< HEAD",
}


def refusal(folder: Path, text: str, *, named: bool = True) -> UsageError:
    path = folder / ("my.env" if named else ".env")
    path.write_text(text, encoding="utf-8", newline="")
    environ = {"BAZAR_CONFIG_DIR": str(folder / "config")}
    with pytest.raises(UsageError) as refused:
        resolve_target(TargetChoice(env_file=Path("my.env") if named else None), environ, folder)
    shown = f"{refused.value.message}{refused.value.hint}{refused.value.details}"
    assert "hunter22" not in shown
    return refused.value


# -- lines --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [True, False], ids=["--env-file", "found"])
@pytest.mark.parametrize("line", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_line_is_named_with_its_number(tmp_path: Path, line: str, named: bool) -> None:
    error = refusal(tmp_path, f"# mine\n{WHOLE}\n\n{line}\nOTHER=1\n", named=named)

    assert (error.code, error.details["line"]) == ("target.env_file", 7)
    assert f"line 7 of the env file {tmp_path}" in error.message
    assert "--env-file" in error.hint


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_as_editors_do(tmp_path: Path, end: str) -> None:
    error = refusal(tmp_path, f'A="two{end}lines"{end}{end}SUPABASE_URL{end}')

    assert error.details["line"] == 4


@pytest.mark.parametrize("name", ["OTHER", "SUPABASE_KEY"])
def test_quote_that_a_later_line_closes_hides_no_variable(tmp_path: Path, name: str) -> None:
    text = f'{WHOLE}{name}="left open\nDATABASE_MIGRATION_URL={MIGRATION}\nANOTHER="\n'

    error = refusal(tmp_path, text)

    assert (error.details["line"], f"the quote of {name} is not closed" in error.message) == (4, True)


def test_file_that_names_no_target_is_another_programs(tmp_path: Path) -> None:
    error = refusal(tmp_path, "spring.datasource.url: x\nA B=1\n", named=False)

    assert error.code == "target.missing"


ANOTHER = {
    "Latin-1": "GREETING=gr\xfc\xdf dich\n".encode("latin-1"),
    "NUL": b"A=1\0\n",
    "over 1 MiB": b"A=1\n" * 300_000,
    "another's name that holds one": b"NEXT_PUBLIC_SUPABASE_URL=x\nDATABASE_URL_TEST=x\nmy.DATABASE_URL=x\nodd line\n",
    "comments": b"# SUPABASE_URL=x\n  #DATABASE_URL=x\nA=1 # SUPABASE_KEY=x\nodd line\n",
    "values": b"URL=$SUPABASE_URL\nB='DATABASE_URL=x'\nodd line\n",
}


@pytest.mark.parametrize("content", ANOTHER.values(), ids=ANOTHER.keys())
def test_file_that_names_no_variable_is_passed_over_whatever_its_form(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".env").write_bytes(content)

    with pytest.raises(UsageError) as refused:
        resolve_target(TargetChoice(), {"BAZAR_CONFIG_DIR": str(tmp_path / "config")}, tmp_path)

    assert refused.value.code == "target.missing"


UNREADABLE = {
    "Latin-1": (f"{WHOLE}A=\xfc\n".encode("latin-1"), "it is not UTF-8 text"),
    "UTF-16": (WHOLE.encode("utf-16"), "it is not UTF-8 text"),
    "UTF-16 without a mark": (WHOLE.encode("utf-16-le"), "it holds a NUL character"),
    "NUL": (f"{WHOLE}A=\0\n".encode(), "it holds a NUL character"),
    "over 1 MiB": (f"{WHOLE}{'A=1' * 400_000}".encode(), "File too large"),
}


@pytest.mark.parametrize(("content", "reason"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_file_that_names_a_variable_and_cannot_be_read_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / ".env").write_bytes(content)

    with pytest.raises(UsageError, match=reason) as refused:
        resolve_target(TargetChoice(), {"BAZAR_CONFIG_DIR": str(tmp_path / "config")}, tmp_path)

    assert refused.value.code == "target.env_file"
    assert "--profile or --env-file" in refused.value.hint


def test_whole_forms_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "my.env"
    path.write_text(
        "\ufeff# staging\r\n\r\nexport SUPABASE_URL='https://x.supabase.co'\r\n"
        'SUPABASE_KEY = "old"\r\nSUPABASE_KEY="k-1" # the key\r\n'
        'PRIVATE_KEY="-----BEGIN-----\nabc=\n-----END-----"\nwith.dot=1\nwith-hyphen=2\nEMPTY=\n'
        "SUPERUSER_PASSWORD='a \"b\" ${c} #d '\nSUPERUSER_EMAIL=\n",
        encoding="utf-8",
        newline="",
    )

    assert variables_of_text(path.read_bytes().decode("utf-8-sig")) == {
        "SUPABASE_URL": "https://x.supabase.co",
        "SUPABASE_KEY": "k-1",
        "SUPERUSER_PASSWORD": 'a "b" ${c} #d ',
    }


QUOTED = [(name, f"{quote}{value}{quote}") for quote in "'\"" for name, value in (*TARGET.items(), ("OTHER", "x"))]


@given(
    lines=st.lists(st.sampled_from(QUOTED), min_size=1, max_size=8, unique_by=lambda line: line[0]),
    data=st.data(),
    written=st.sampled_from([*"\"'#=:;$\\ \t\n\r\u200b", "", "\n\n", "x y"]),
    replaces=st.booleans(),
)
def test_slip_behind_a_name_loses_no_variable(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[tuple[str, str]],
    data: st.DataObject,
    written: str,
    replaces: bool,
) -> None:
    texts = [f"{name}={value}\n" for name, value in lines]
    slip = data.draw(st.integers(0, len(texts) - 1))
    at = data.draw(st.integers(len(lines[slip][0]), len(texts[slip]) - 1 - replaces))
    texts[slip] = texts[slip][:at] + written + texts[slip][at + replaces :]
    path = tmp_path_factory.getbasetemp() / "generated.env"
    path.write_text("".join(texts), encoding="utf-8", newline="")

    try:
        found = set(variables_of_text(path.read_bytes().decode("utf-8-sig")))
    except MalformedLine:
        return

    emptied = {name for name, value in variables_in(path).items() if not value}
    assert found | emptied >= {name for name, _ in lines} - {"OTHER"}


def variables_in(path: Path) -> dict[str, str]:
    """What a shell would set: `NAME=` with nothing behind it is meant."""
    lines = [line.partition("=") for line in path.read_text(encoding="utf-8").splitlines()]
    return {name: value.partition("#")[0].strip().strip("\"'") for name, _, value in lines}


# -- values -------------------------------------------------------------------------------------------------

AROUND = {
    "double quotes": ('"{}"', "quotes"),
    "single quotes": ("'{}'", "quotes"),
    "quotes of a text program": ("\u201c{}\u201d", "quotes"),
    "a quote at the beginning": ('"{}', "begins with a quote"),
    "a quote at the end": ("{}'", "ends with a quote"),
    "a space at the end": ("{} ", "ends with white space"),
    "a space at the beginning": (" {}", "begins with white space"),
    "a tab": ("{}\t", "ends with white space"),
    "a line break": ("{}\n", "ends with a line break"),
    "a line break of Windows": ("{}\r\n", "ends with a line break"),
    "a no-break space": ("{}\u00a0", "ends with white space"),
    "a zero-width space": ("\u200b{}", "invisible character"),
    "a byte order mark": ("\ufeff{}", "invisible character"),
    "its name": ("{name}={}", "begins with {name}="),
    "export and its name": ("export {name}={}", "begins with {name}="),
}
CODES = {
    "SUPABASE_URL": "target.url_invalid",
    "SUPABASE_KEY": "target.key_invalid",
    "SUPABASE_ANON_KEY": "target.key_invalid",
    "DATABASE_URL": "target.url_invalid",
    "DATABASE_MIGRATION_URL": "target.url_invalid",
    "SUPERUSER_EMAIL": "users.email_invalid",
}
EVERY = {
    **TARGET,
    "SUPABASE_ANON_KEY": "hunter22",
    "DATABASE_MIGRATION_URL": MIGRATION,
    "SUPERUSER_EMAIL": "hunter22@example.com",
}


@pytest.mark.parametrize(("around", "said"), AROUND.values(), ids=AROUND.keys())
@pytest.mark.parametrize("name", CODES)
def test_what_stands_around_a_value_is_named(name: str, around: str, said: str) -> None:
    value = around.replace("{name}", name).replace("{}", EVERY[name])

    with pytest.raises(UsageError) as refused:
        direct_from(BY_HAND, {**EVERY, name: value}, {})

    error = refused.value
    assert error.code == CODES[name]
    assert error.message.startswith(f"{name} of profile staging cannot be used: it ")
    assert said.replace("{name}", name) in error.message
    assert name in error.hint
    assert "hunter22" not in f"{error.message}{error.hint}{error.details}"


def test_password_that_stands_on_the_line_of_the_address_is_not_repeated(tmp_path: Path) -> None:
    error = refusal(tmp_path, f"{WHOLE}SUPERUSER_EMAIL=ada@example.com SUPERUSER_PASSWORD=hunter22\n")

    assert (error.code, "no spaces" in error.message) == ("users.email_invalid", True)


@pytest.mark.parametrize("name", ["BAZAR_CONFIG_DIR", "BAZAR_DATA_DIR"])
def test_folder_in_quotes_is_named(name: str) -> None:
    folder = {"BAZAR_CONFIG_DIR": config_dir, "BAZAR_DATA_DIR": data_dir}[name]

    with pytest.raises(UsageError, match=f"{name} cannot be used: it begins and ends with quotes"):
        folder({name: '"/var/lib/bazar"'})


def test_values_themselves_have_nothing_around_them() -> None:
    assert direct_from(BY_HAND, EVERY, {}).superuser_email == EVERY["SUPERUSER_EMAIL"]


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_MIGRATION_URL"])
@pytest.mark.parametrize(
    "scheme", ["postgresql+psycopg", "postgresql+psycopg2", "postgres+asyncpg", "postgresql+pg8000"]
)
def test_driver_of_another_program_is_named(name: str, scheme: str) -> None:
    with pytest.raises(UsageError) as refused:
        direct_from(BY_HAND, {**EVERY, name: MIGRATION.replace("postgresql", scheme, 1)}, {})

    error = refused.value
    assert error.code == "target.url_invalid"
    assert f"names a driver (+{scheme.partition('+')[2]})" in error.message
    assert f"write {name} as postgresql://" in error.hint
    assert "hunter22" not in f"{error.message}{error.hint}{error.details}"


@pytest.mark.parametrize("password", ["pass word ", '"begins', "ends'", "p\u00e4ss"])
def test_password_may_begin_and_end_with_any_character(password: str) -> None:
    assert surplus("SUPERUSER_PASSWORD", password, any_character=True) is None


@pytest.mark.parametrize("password", ['"password"', "'password'", "password\n", "password\r\n"])
def test_password_in_quotes_or_with_a_line_break_is_not_meant(password: str) -> None:
    assert surplus("SUPERUSER_PASSWORD", password, any_character=True) is not None
