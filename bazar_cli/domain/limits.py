"""Supabase's 429: it limits how often it is asked, and may say in how many seconds it wants to be asked again."""

from __future__ import annotations

from collections.abc import Iterator

from bazar_cli.domain.errors import BackendUnavailable

TOO_MANY = 429


def when(pause: int | None) -> str:
    """Say when to try again; `pause` is in seconds, None where Supabase does not say."""
    return "wait a minute and try again" if pause is None else f"try again in {pause} s"


def as_details(pause: int | None) -> dict[str, object]:
    """Say it for machines: `status`, and `retry_after` where Supabase says when."""
    return {"status": TOO_MANY} if pause is None else {"status": TOO_MANY, "retry_after": pause}


def is_limited(error: BackendUnavailable) -> bool:
    """Whether a limit ended the command, as far as `as_details` were told."""
    return error.details.get("status") == TOO_MANY


def pause_of(error: BackendUnavailable) -> int | None:
    """The seconds that such an error tells."""
    pause = error.details.get("retry_after")
    return pause if isinstance(pause, int) else None


def tell(error: BackendUnavailable) -> None:
    """Let an error say when to try again where a limit led to it, unless it does."""
    if is_limited(error):
        return
    pauses = list(_pauses(error))
    if pauses:
        pause = next((p for p in pauses if p is not None), None)
        error.hint += f". Supabase Auth limits how often it is asked: {when(pause)}"
        error.details |= as_details(pause)


def _pauses(error: BaseException) -> Iterator[int | None]:
    """The pause of each limit that led to an error, the last one first: a look-up may be limited as well."""
    from bazar_cli.domain.users.identities import OutcomeUnknown

    earlier: BaseException | None = error
    while earlier is not None:
        if isinstance(earlier, OutcomeUnknown) and earlier.rate_limited:
            yield earlier.retry_after
        elif isinstance(earlier, BackendUnavailable) and is_limited(earlier):
            yield pause_of(earlier)
        earlier = earlier.__cause__ or earlier.__context__
