"""Completion in real shells: what a line becomes when Tab is pressed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from shutil import which

import pytest

from bazar_cli.registry import TREE
from bazar_cli.terminal.completion_scripts import FILES, Shell, script
from tests.support.cli import Bazar

SHELLS = [shell for shell in Shell if which(shell.value)]
"""Those of this machine; bash is on all that bazar supports."""
_HANG_SECONDS = 120
_STUB = """\
#!/bin/sh
case $1 in __complete | completion) exec {python} -m bazar_cli "$@" ;; esac
printf 'ran:'
printf '<%s>' "$@"
echo
"""
_START_FILES = {
    Shell.BASH: (".bashrc", 'eval "$(bazar completion bash)"\nPS1=ready\n'),
    Shell.ZSH: (".zshrc", 'autoload -Uz compinit\ncompinit -u -D\neval "$(bazar completion zsh)"\nPS1=ready\n'),
    Shell.FISH: (
        ".config/fish/config.fish",
        "bazar completion fish | source\nfunction fish_prompt\n echo ready\nend\nset fish_greeting\n",
    ),
}


@pytest.fixture
def home(nobody: Bazar) -> Bazar:
    """A home folder with `bazar` on its PATH, which prints its arguments instead of acting, and a few files."""
    folder = nobody.folder(".")
    profiles = nobody.folder("config") / "profiles.toml"
    profiles.write_text("[profiles.staging]\n")
    profiles.chmod(0o600)
    (nobody.folder("work") / "my file.env").touch()
    program = nobody.folder("bin") / "bazar"
    program.write_text(_STUB.format(python=shlex.quote(sys.executable)))
    program.chmod(0o755)
    for path, text in _START_FILES.values():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return nobody.having(PATH=f"{program.parent}:{os.environ['PATH']}", HOME=str(folder), TERM="xterm", LANG="C.UTF-8")


def completed(home: Bazar, shell: Shell, line: str) -> str:
    """Type a line and Tab into an interactive shell, then Enter; return the arguments that `bazar` got."""
    terminal = "import os, pty, sys; pty.spawn(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", terminal, shell.value, "-i"],
        env=home.environment(),
        cwd=home.folder("work"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    guard = threading.Timer(_HANG_SECONDS, process.kill)
    guard.start()
    seen, found = b"", None
    try:
        for awaited, typed in ((rb"ready", f"{line}\t\r"), (rb"ran:([^\r\n]*)[\r\n]", "")):
            while (found := re.search(awaited, seen)) is None and (more := os.read(process.stdout.fileno(), 4096)):
                seen += more
            process.stdin.write(typed.encode())
            process.stdin.flush()
    finally:
        guard.cancel()
        process.kill()
        process.communicate()
    assert found is not None, seen.decode(errors="replace")
    return found[1].decode()


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("bazar us", "<users>"),
        ("bazar users cr", "<users><create>"),
        ("bazar 'users' cr", "<users><create>"),
        ("../bin/bazar users cr", "<users><create>"),
        ("bazar users list --pla", "<users><list><--plan>"),
        ("bazar users list -o cs", "<users><list><-o><csv>"),
        ("bazar users list --output=cs", "<users><list><--output=csv>"),
        ("bazar users list --search a=b:c --output=cs", "<users><list><--search><a=b:c><--output=csv>"),
        ('bazar users get "ada king" -o "cs', "<users><get><ada king><-o><csv>"),
        (r"bazar users get it\'s\ me --no-i", "<users><get><it's me><--no-input>"),
        ("bazar users get a@b.c:d=e --no-i", "<users><get><a@b.c:d=e><--no-input>"),
        ("bazar users list --fields id,em", "<users><list><--fields><id,email>"),
        ("bazar users list --profile=st", "<users><list><--profile=staging>"),
        ("bazar users list --env-file my", "<users><list><--env-file><my file.env>"),
        ("bazar users list --env-file=my", "<users><list><--env-file=my file.env>"),
        ("bazar db seed --file my", "<db><seed><--file><my file.env>"),
        (r"bazar users list --env-file my\ f", "<users><list><--env-file><my file.env>"),
        ("bazar users list --env-file='my f", "<users><list><--env-file=my file.env>"),
        ("bazar users get my", "<users><get><my>"),
    ],
)
@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_in_a_shell(home: Bazar, shell: Shell, line: str, arguments: str) -> None:
    assert completed(home, shell, line) == arguments


def in_bash(home: Bazar, line: str, *, wordbreaks: str = " \t\n\"'@><=;|&(:") -> list[str]:
    """Call bash's completion function as readline does, and return COMPREPLY."""
    program = (
        'eval "$(bazar completion bash)"; COMP_WORDBREAKS=$1 COMP_LINE=$2 COMP_POINT=${#2}; _bazar bazar "" ""\n'
        'if ((${#COMPREPLY[@]})); then printf "%s\\n" "${COMPREPLY[@]}"; fi'
    )
    done = subprocess.run(
        ["bash", "--norc", "-uc", program, "bash", wordbreaks, line],
        env=home.environment(),
        cwd=home.folder("work"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def test_bash_gets_all_candidates(home: Bazar) -> None:
    assert in_bash(home, "bazar ") == list(TREE.commands)
    assert in_bash(home, "bazar users list --output js") == ["json", "jsonl"]
    assert in_bash(home, "bazar users get nothing-known") == []


def test_bash_replaces_what_readline_takes_for_the_word(home: Bazar) -> None:
    assert in_bash(home, "bazar users list --output=js") == ["json", "jsonl"]
    assert in_bash(home, "bazar users list --output=") == ["table", "json", "jsonl", "csv", "yaml", "ids"]
    assert in_bash(home, "bazar users list --output=cs", wordbreaks=" \t\n") == ["--output=csv"]
    assert in_bash(home, "bazar users list --env-file=my", wordbreaks=" \t\n") == ["--env-file=my file.env"]


def test_bash_evaluates_nothing_of_the_line(home: Bazar) -> None:
    assert in_bash(home, "bazar users get '$(touch a)' \"`touch b`\" $(touch\\ c) --no-i") == ["--no-input"]
    assert [path.name for path in home.folder("work").iterdir()] == ["my file.env"]


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_well_formed(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / FILES[shell]
    path.write_text(script(shell))
    subprocess.run([shell.value, "-n", path], check=True)
