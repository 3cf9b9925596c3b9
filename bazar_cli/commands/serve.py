"""`bazar serve`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from bazar_cli.domain import serve as use_case
from bazar_cli.domain.errors import UsageError
from bazar_cli.domain.serve import SERVE, Serve
from bazar_cli.terminal.command import command
from bazar_cli.terminal.redact import Redactor
from bazar_cli.terminal.run import Run

_DEFAULT = Serve()


@command(
    SERVE,
    logs=True,
    examples=("bazar serve", "bazar serve --host 0.0.0.0 --workers 4 --proxy-headers --metrics-port 9100"),
)
def run(
    run: Run[None],
    host: Annotated[str, Option("--host", help="address to listen on")] = _DEFAULT.host,
    port: Annotated[int, Option("--port", help="port to listen on, 0 for a free one")] = _DEFAULT.port,
    workers: Annotated[
        int, Option("--workers", help=f"processes that serve, 1 to {use_case.MAX_WORKERS}", metavar="N")
    ] = _DEFAULT.workers,
    connections: Annotated[
        int, Option("--connections", help="connections to Postgres of each process", metavar="N")
    ] = _DEFAULT.connections,
    root_path: Annotated[
        str, Option("--root-path", help="path that a proxy in front of it removes", metavar="PATH")
    ] = _DEFAULT.root_path,
    proxy_headers: Annotated[
        bool, Option("--proxy-headers", help="a proxy in front of it writes X-Forwarded-For and -Proto")
    ] = _DEFAULT.proxy_headers,
    issuer: Annotated[
        str, Option("--issuer", help="issuer of access tokens (default: that of SUPABASE_URL)", metavar="URL")
    ] = _DEFAULT.issuer,
    metrics_port: Annotated[
        int | None, Option("--metrics-port", help="port for metrics of Prometheus (default: none)", metavar="PORT")
    ] = _DEFAULT.metrics_port,
    drain: Annotated[
        float, Option("--drain", help="seconds from SIGTERM to the closing of the socket", metavar="S")
    ] = _DEFAULT.drain,
    origins: Annotated[
        str | None, Option("--origins", help="web pages that may read answers (default: none)", metavar="A,B")
    ] = None,
) -> None:
    """Serve the HTTP API until Ctrl-C or SIGTERM.

    Clients send the access token of a user, and each request is checked as a command is. SUPERUSER_*, BAZAR_TOKEN and
    stored sessions identify nobody here. The first superuser comes from `bazar db migrate`.

    It starts on a database that is not there yet or not migrated, and /readyz answers 503 until it is. Log lines are
    written to standard error, one for each request. SIGTERM ends it when the requests in hand have ended; a second
    signal ends it at once.
    """
    request = use_case.checked(
        Serve(
            host,
            port,
            workers,
            connections,
            root_path,
            proxy_headers,
            issuer,
            metrics_port,
            drain,
            tuple(origins.split(",")) if origins else (),
        )
    )
    try:
        from bazar_cli.api.serving.serve import Surroundings, serve
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("bazar_cli"):
            raise
        raise UsageError(
            "serve.extra_missing",
            f"the HTTP API needs the extra `server`, and {missing.name} is not installed",
            hint="install bazar with it: pip install '.[server]' in the checkout, or uv sync --extra server",
            details={"module": missing.name},
        ) from missing
    serve(
        run.target,
        request,
        Surroundings(
            run.environ,
            hider=lambda: Redactor({}, run.redactor),
            hide=run.redactor.hide,
            say=run.notice,
        ),
    )
