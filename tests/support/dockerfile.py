"""The steps of a Dockerfile, read from the file and taken in Debian roots instead of a container engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.cli import Done
from tests.support.debian_root import DebianRoot, Inside, debian_root


@dataclass(frozen=True)
class Instruction:
    """One instruction, its continuation lines joined."""

    name: str
    text: str

    @property
    def pairs(self) -> dict[str, str]:
        """The NAME=value pairs of ARG, ENV and LABEL."""
        return dict(word.split("=", 1) for word in shlex.split(self.text))


@dataclass(frozen=True)
class Image:
    """What a stage results in: its files, and its settings."""

    root: DebianRoot
    environ: dict[str, str] = field(default_factory=dict[str, str])
    user: str = "0:0"
    folder: str = "/"
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    health: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict[str, str])

    def run(self, inside: Inside, *words: str, environ: Mapping[str, str] | None = None, stdin: str = "") -> Done:
        """Run a command in its entered root as its user, with its environment."""
        uid, gid = (int(part) for part in self.user.split(":"))
        given = {**self.environ, **(environ or {})}
        return inside.run(*words, uid=uid, gid=gid, environ=given, cwd=self.folder, stdin=stdin)


def instructions(path: Path) -> list[Instruction]:
    """Return the instructions of a Dockerfile."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    words = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [Instruction(name, " ".join(text.split())) for name, text in words]


def build(
    path: Path, context: Path, stack: ExitStack, *, binds: Mapping[Path, str], environ: Mapping[str, str]
) -> dict[str, Image]:
    """Take every step of a Dockerfile; return the images of its stages by name.

    Args:
        path: the Dockerfile.
        context: the folder of its COPY steps, without what a .dockerignore leaves out.
        stack: keeps the roots of the stages.
        binds: folders that RUN steps see, as a build's own mounts.
        environ: variables that RUN steps see, as a build's own arguments.
    """
    stages: dict[str, Image] = {}
    arguments: dict[str, str] = {}
    name = ""
    for step in instructions(path):
        if step.name == "FROM":
            base, name = step.text.split(" AS ")
            stages[name] = _from(_expanded(base, arguments), stages, stack)
        elif step.name == "ARG":
            arguments |= step.pairs
        else:
            stages[name] = _after(step, stages, name, arguments, context, binds, environ)
    return stages


def _from(base: str, stages: Mapping[str, Image], stack: ExitStack) -> Image:
    if base in stages:
        copy = stack.enter_context(debian_root(copied=stages[base].root.folder))
        return replace(stages[base], root=copy)
    distribution, _, tag = base.partition(":")
    assert distribution == "debian", f"{base} is no Debian: this cannot take its steps"
    return Image(stack.enter_context(debian_root(suite=tag.removesuffix("-slim"), packages=())))


def _after(
    step: Instruction,
    stages: Mapping[str, Image],
    name: str,
    arguments: Mapping[str, str],
    context: Path,
    binds: Mapping[Path, str],
    environ: Mapping[str, str],
) -> Image:
    image = stages[name]
    text = step.text
    if step.name == "RUN":
        given = {**arguments, **image.environ, **environ}
        with image.root.entered(binds=binds) as inside:
            image.run(inside, "/bin/sh", "-c", text, environ=given).ok()
        for place in binds.values():
            (image.root.folder / place.lstrip("/")).rmdir()
        return image
    if step.name == "COPY":
        _copy(text, image, stages, context)
        return image
    if step.name == "WORKDIR":
        (image.root.folder / text.lstrip("/")).mkdir(parents=True, exist_ok=True)
        return replace(image, folder=text)
    known = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **arguments, **image.environ}
    settings: dict[str, Callable[[], Image]] = {
        "ENV": lambda: replace(image, environ=image.environ | _values(step, known)),
        "LABEL": lambda: replace(image, labels=image.labels | _values(step, known)),
        "USER": lambda: replace(image, user=text),
        "ENTRYPOINT": lambda: replace(image, entrypoint=tuple(json.loads(text))),
        "HEALTHCHECK": lambda: replace(image, health=tuple(json.loads(text.partition("CMD ")[2]))),
        "CMD": lambda: replace(image, command=tuple(json.loads(text))),
        "EXPOSE": lambda: image,
    }
    return settings[step.name]()


def _values(step: Instruction, known: Mapping[str, str]) -> dict[str, str]:
    return {name: _expanded(value, known) for name, value in step.pairs.items()}


def _expanded(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: values[found[1] or found[2]], text)


def _copy(text: str, image: Image, stages: Mapping[str, Image], context: Path) -> None:
    *sources, target = text.split()
    source_root = context
    if sources[0].startswith("--from="):
        source_root = stages[sources.pop(0).removeprefix("--from=")].root.folder
    for source in sources:
        found = source_root / source.lstrip("/")
        place = Path(os.path.normpath(f"{image.folder}/{target}" if not target.startswith("/") else target))
        to = image.root.folder / str(place).lstrip("/")
        if found.is_dir():
            shutil.copytree(found, to, symlinks=True, dirs_exist_ok=True)
        else:
            to.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, to)


def ignored(patterns: Sequence[str], path: str) -> bool:
    """Say whether a .dockerignore leaves out `path`: the last pattern counts that matches it or a folder above it."""
    parts = path.split("/")
    candidates = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    result = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        form = re.escape(wanted).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(form, candidate) for candidate in candidates):
            result = not pattern.startswith("!")
    return result


def copy_context(checkout: Path, to: Path) -> None:
    """Copy what .dockerignore leaves of a checkout."""
    lines = (checkout / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    for top in sorted(checkout.iterdir()):
        if ignored(patterns, top.name):
            continue
        for path in [top, *(top.rglob("*") if top.is_dir() else ())]:
            name = path.relative_to(checkout).as_posix()
            if path.is_file() and not ignored(patterns, name):
                (to / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, to / name)
