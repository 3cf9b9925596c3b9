"""`bazar batch`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import closing
from typing import Annotated

from typer import Argument, Option

from bazar_cli.domain.batch import BATCH, MAX_JOBS, LineResult, checked_jobs
from bazar_cli.domain.errors import ExitCode
from bazar_cli.domain.page import Page
from bazar_cli.domain.texts import Verbatim, counted
from bazar_cli.services.interrupts import between_steps
from bazar_cli.terminal.batch import Batch
from bazar_cli.terminal.batch_lines import Line, lines_of, refuse_invalid_file
from bazar_cli.terminal.command import command
from bazar_cli.terminal.launch import refuse_arguments
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.shared import Shared
from bazar_cli.terminal.views.batch import LINE


@command(
    BATCH,
    view=LINE,
    streams=True,
    examples=("bazar batch commands.txt", "bazar batch --jobs 4 --keep-going - <commands.txt >results.jsonl"),
)
def run(
    run: Run[LineResult],
    file: Annotated[Verbatim, Argument(help="file of commands, or - for standard input")],
    jobs: Annotated[int, Option("--jobs", help=f"commands that run at once, 1 to {MAX_JOBS} (default 1)")] = 1,
    keep_going: Annotated[bool, Option("--keep-going", help="run the other lines after one failed")] = False,
) -> int:
    """Run many commands, one on each line of a file.

    A line is a command, quoted as in a shell, with or without the word bazar; `#` begins a comment. Nothing else of a
    shell works, such as variables and pipes. Each line is checked as a command of its own. All commands, options and
    values of a file are checked before its first line runs, those of a pipe when they come. With --jobs lines run and
    end in any order.

    The result is one JSON object a line, or what -o says: number, exit code, output and error. An output above 16 MiB
    is left out, and `messages` says so: let such a command write a file. Exit code 8 means that some lines failed or
    their results could not be written. A batch runs no auth, batch, completion, config, help,
    local or serve command, and no db drop.
    """
    checked_jobs(jobs)
    counts: Counter[bool] = Counter()
    with run.opened(file) as descriptor:
        commands = Shared(run.environ)

        def check(line: Line) -> None:
            if line.leaf is not None:
                refuse_arguments(line.leaf, line.path, line.arguments, run.environ, commands)

        refuse_invalid_file(descriptor, check, run.redactor.remember)
        common = run.options.for_another_command()
        with (
            closing(Batch(jobs, common, run.environ, run.redactor, keep_going=keep_going)) as batch,
            between_steps() as is_ended,
        ):
            results = batch.results(lines_of(descriptor, batch.is_stopping), is_ended)

            def pages() -> Generator[Page[LineResult]]:
                with closing(results):
                    for result in results:
                        counts[result.exit_code == ExitCode.DONE] += 1
                        yield Page((result,), None)

            run.export_parts(pages(), None, overwrite=False)
            if is_ended():
                run.notice(f"interrupted: {counted(counts.total(), 'line')} ended, and no other was begun")
    failed = counts[False]
    if failed or run.is_lost:
        text = f"{failed} of {counted(counts.total(), 'line')} failed"
        if run.is_lost:
            text += "; further results could not be written, so no other line was begun"
        elif not keep_going:
            text += "; no other line was begun"
        run.warn(text)
        return ExitCode.PARTIAL
    return ExitCode.DONE
