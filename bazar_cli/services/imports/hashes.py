"""Hash the plain passwords of a file on this machine: Postgres and the Auth server get hashes only.

A second pass over the file hashes them chunk by chunk. Each chunk is one transaction that holds its rows. So several
importers of one run share the work, and a killed one leaves nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from bazar_cli.adapters.polling import poll
from bazar_cli.domain.authz.spec import Grant
from bazar_cli.domain.imports.file import RowFile
from bazar_cli.domain.imports.imports import IMPORT, FileFormat, ImportRun
from bazar_cli.domain.progress import Progress
from bazar_cli.services.users.passwords import bcrypt_of

if TYPE_CHECKING:
    from bazar_cli.adapters.import_file import ImportFile
    from bazar_cli.services.gate.backends import Backends

_EACH = 16
"""Passwords of a chunk for each core: about a second of work, in threads, because bcrypt releases Python's lock."""
_WAIT_SECONDS, _POLL_SECONDS = 10.0, (0.2, 0.5)
"""How long the rows that other importers hold are waited for, before the file is read again."""


def hash_passwords(
    backends: Backends,
    grant: Grant,
    run: ImportRun,
    file: ImportFile,
    file_format: FileFormat,
    progress: Progress,
    ended: Callable[[], bool],
) -> None:
    """Hash until no row of the run awaits a hash, or the command is to end. Then the run is staged.

    Raises: Conflict `imports.file_changed`; RightsChanged; BackendUnavailable.
    """
    from bazar_cli.adapters.postgres.imports import runs

    grant.demand(IMPORT)

    def awaited() -> int:
        with backends.database().read(grant) as connection:
            return runs.awaited_hashes(connection, run.id)

    left = total = awaited()
    cores = max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    # A hash of another password would be stored before the end of a changed file shows that it changed.
    with file.unchanging() as copy, ThreadPoolExecutor(cores, thread_name_prefix="bazar-hash") as pool:
        while left and not ended():
            rows = RowFile(copy.chunks(), file_format)
            for done in _one_pass(backends, grant, run, rows, pool, _EACH * cores, ended):
                left -= done
                progress("passwords hashed", total - left, total)
            left = awaited()
            if left and not ended():
                poll(lambda count=left: ended() or awaited() < count, seconds=_WAIT_SECONDS, pause=_POLL_SECONDS)
                left = awaited()
    if not left:
        with backends.database().transaction(grant) as connection:
            runs.mark_staged(connection, run.id)


def _one_pass(
    backends: Backends,
    grant: Grant,
    run: ImportRun,
    rows: RowFile,
    pool: ThreadPoolExecutor,
    size: int,
    ended: Callable[[], bool],
) -> Iterator[int]:
    """Hash the passwords of the rows that no other importer holds; yield how many, chunk by chunk."""
    from bazar_cli.adapters.postgres.imports import runs

    coming = rows.passwords()
    while chunk := dict(islice(coming, size)):
        if ended():
            return
        with backends.database().transaction(grant) as connection:
            lines = sorted(runs.claim_hashes(connection, run.id, list(chunk)))
            if lines:
                hashes = list(pool.map(bcrypt_of, [chunk[line] for line in lines]))
                runs.store_hashes(connection, run.id, lines, hashes)
        yield len(lines)
