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
from bazar_cli.terminal.batch_lines import lines_of, refuse_invalid_file
from bazar_cli.terminal.command import command
from bazar_cli.terminal.run import Run
from bazar_cli.terminal.views.batch import LINE


@command(
    BATCH,
    view=LINE,
    examples=("bazar batch commands.txt", "bazar batch --jobs 4 --keep-going - <commands.txt >results.jsonl"),
)
def run(
    run: Run[LineResult],
    file: Annotated[Verbatim, Argument(help="file of commands, or - for standard input")],
    jobs: Annotated[int, Option("--jobs", help=f"commands that run at once, 1 to {MAX_JOBS} (default 1)")] = 1,
    keep_going: Annotated[bool, Option("--keep-going", help="run the other lines after one failed")] = False,
) -> int:
    """Run many commands, one on each line of a file.

    A line is a command as in a shell, with or without the word bazar; `#` begins a comment. Each line is checked as a
    command of its own. The result is one JSON object a line: its number, exit code, output and error. Exit code 8
    means that some lines failed. A file is checked before its first line runs. A batch runs no auth, batch, config or
    local command. With --jobs the lines run in any order.
    """
    checked_jobs(jobs)
    counts: Counter[bool] = Counter()
    with run.opened(file) as descriptor, between_steps() as is_ended:
        refuse_invalid_file(descriptor)
        batch = Batch(jobs, run.options.for_another_command(), run.environ, keep_going=keep_going)
        results = batch.results(lines_of(descriptor, batch.is_stopping), is_ended)

        def pages() -> Generator[Page[LineResult]]:
            with closing(results):
                for result in results:
                    counts[result.exit_code == ExitCode.DONE] += 1
                    yield Page((result,), None)

        run.export(pages(), None, overwrite=False)
    failed = counts[False]
    if not failed:
        return ExitCode.DONE
    run.warn(
        f"{counted(failed, 'line')} of {counts.total()} failed" + ("" if keep_going else "; no further line was run")
    )
    return ExitCode.PARTIAL
