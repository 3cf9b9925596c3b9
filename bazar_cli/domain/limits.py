"""Supabase Auth's rate limit: it answers 429, and may say in how many seconds it takes the request again."""

from __future__ import annotations

from dataclasses import dataclass

TOO_MANY = 429


@dataclass(frozen=True)
class RateLimit:
    """A limit that Supabase Auth applied. Parameters: `retry_after` is in seconds, None where it does not say."""

    retry_after: int | None = None

    @property
    def advice(self) -> str:
        """Return when to try again, for a hint."""
        return "wait a minute and try again" if self.retry_after is None else f"try again in {self.retry_after} s"

    @property
    def details(self) -> dict[str, object]:
        """The same for machines: `status`, and `retry_after` where Supabase says it."""
        return (
            {"status": TOO_MANY} if self.retry_after is None else {"status": TOO_MANY, "retry_after": self.retry_after}
        )


def first_limit(*limits: RateLimit | None) -> RateLimit | None:
    """Return the first of these limits; one that says when to try again comes before all others."""
    met = [limit for limit in limits if limit is not None]
    return next((limit for limit in met if limit.retry_after is not None), met[0] if met else None)
