"""Text as careless and hostile people, programs and terminals give it, for every place that takes any."""

from __future__ import annotations

import base64

from hypothesis import strategies as st

LONG = 10_000
_CURSORS = ['["created","2026-W49-1","x"]', "[" * 3000, '["email","\\ud800","00000000-0000-0000-0000-000000000000"]']
_CHOSEN = (
    # nothing, white space, line ends, controls
    *("", " ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u200b", "a\x1b[31mb", "\x07", "\x7f", "\x85", "\u2028"),
    # direction, joiners, combining, far planes, what is no character
    *(
        "\u202eoops",
        "\u2066x\u2069",
        "Zoe\u0308",
        "\u212b",
        "\U0001f469\u200d\U0001f52c",
        "\ufeffx",
        "\uffff",
        "\U0010ffff",
    ),
    *("\uff1d1+1", "\u0130I\u0131", "\u1e9e", "\u0301", "\u0661\u0662"),
    # bytes that are no UTF-8, as Python hands them on
    *("\udcff", "caf\udce9", "\udced\udca0\udc80"),
    # lengths
    *("x" * LONG, "\u00e9" * LONG, "a" * 256, f"{'a' * 64}@{'b' * 64}.example.com", "a@" + "b." * 300 + "c"),
    # hyphens, shells, SQL, formats, markup, paths
    *("-", "--", "-x", "--output", "---", "=", "a=b", "'", '"', "`id`", "$(id)", "${HOME}", "%", "%s", "%(x)s", "{0}"),
    *("_", "\\", "\\\\", "' OR true --", "'; DROP TABLE bazar.users; --", "[bold]x[/bold]", "=1+1", "@SUM(1)", "null"),
    *("NULL", "None", "true", "~", ".", "..", "../..", "/", "/dev/null", "/dev/full", "a/b", "con", "*", "?"),
    # numbers
    *(
        "0",
        "-0",
        "-1",
        "1.5",
        "1e3",
        "1e400",
        "NaN",
        "-inf",
        "Infinity",
        "0x10",
        "1_000",
        " 1 ",
        "2147483648",
        "9" * 20,
    ),
    *("9223372036854775808", "9" * 5000, "00000000-0000-0000-0000-000000000000", "{" + "0" * 32 + "}", "0" * 32),
    # times
    *("0000-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999+00:00"),
    *("2026-02-30", "2026-W49-1", "20261130", "2026-11-30T25:00:00Z", "2026-11-30T12:00:00+99:99", "infinity", "now"),
    *("2026-11-30T12:00:00+23:59:59.999999", "-4713-01-01", "2026-11-30T12:00:00ZZ", "7d", "yesterday", "99999999999d"),
    # shapes
    *("{}", "[]", "[" * LONG, '{"a":' * LONG, "a@b", "@", "a@", "@b", "a@b@c", "a b@c.d", "A@B", "\u00e9@b.c"),
    *(base64.urlsafe_b64encode(text.encode()).decode() for text in _CURSORS),
)
_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from("\udc80\udcfe")

ARGUMENTS = st.one_of(st.sampled_from(_CHOSEN), st.text(_CHARACTERS, max_size=40))
"""What a shell can hand on as an argument, or an environment variable: no NUL, and no half of a pair."""
CONTENT = st.one_of(
    ARGUMENTS.map(lambda text: text.encode("utf-8", "surrogateescape")),
    st.binary(max_size=60),
    st.sampled_from((b"\0", b"nul\0inside", b"\xff\xfep\0w\0", b"x" * 70_000, b"\n" * 3, b"\r", b"\xef\xbb\xbf")),
)
"""What a pipe or a file can hold."""
