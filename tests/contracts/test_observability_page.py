"""docs/observability.md: its example has the fields of a real record, and its collector file fits what bazar writes."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from bazar_cli.adapters import traces
from bazar_cli.domain.calls import MOST_KEPT
from bazar_cli.terminal.crash_reports import KEPT
from tests.support.cli import Bazar

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "observability.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", PAGE, re.M | re.S)
    return [re.sub(rf"^{indent}", "", text, flags=re.M) for indent, text in found]


def record(tmp_path: Path) -> dict[str, Any]:
    """The last line of a real log."""
    log = tmp_path / "log.json"
    Bazar(tmp_path)("config", "path", "--log-file", str(log), "--log-format", "json").ok()
    return json.loads(log.read_text().splitlines()[-1])


def test_example_and_table_have_the_fields_of_a_record(tmp_path: Path) -> None:
    fields = record(tmp_path)
    assert list(json.loads(blocks("json")[0])) == list(fields)
    table = PAGE.partition("| Field |")[2].partition("\n\n")[0]
    assert {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1])} == set(fields)


def test_collector_file_uses_what_it_defines_and_reads_what_bazar_writes(tmp_path: Path) -> None:
    [text] = blocks("yaml")
    config = yaml.safe_load(text)
    for pipeline in config["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(config[kind])
    # The ports of the page are one.
    port = config["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]
    assert set(re.findall(r"OTLP_ENDPOINT=http://127\.0\.0\.1:(\d+)", PAGE)) == {port}
    parser, trace = config["receivers"]["file_log"]["operators"]
    fields = record(tmp_path)
    # The collector's %L is milliseconds, which Python reads with %f.
    layout = parser["timestamp"]["layout"].replace("%L", "%f")
    assert re.search(r"\.\d{3}Z$", fields["time"])
    datetime.strptime(fields["time"], layout)  # noqa: DTZ007 - whether it can be read
    assert {parser[what]["parse_from"] for what in ("timestamp", "severity")} == {"attributes.time", "attributes.level"}
    assert [trace[name]["parse_from"] for name in ("trace_id", "span_id")] == [
        "attributes.trace_id",
        "attributes.span_id",
    ]
    assert {"time", "level", "trace_id", "span_id"} <= set(fields)


def test_numbers_of_the_page_are_those_of_the_code() -> None:
    assert f"waits {traces.SECONDS:g} s at most" in PAGE
    assert f"beyond the first {MOST_KEPT}," in PAGE
    assert f"the newest {KEPT} reports" in PAGE


def test_every_variable_that_is_read_is_on_the_page() -> None:
    source = (ROOT / "bazar_cli" / "adapters" / "traces.py").read_text()
    read = set(re.findall(r'"((?:OTEL|TRACE)[A-Z_]*[A-Z])"', source)) - {"OTEL_EXPORTER_OTLP"}
    read |= {f"OTEL_EXPORTER_OTLP_{name}" for name in re.findall(r'_chosen\(environ, "(\w+)"\)', source)}
    assert len(read) > 10
    assert {name for name in read if name not in PAGE} == set()
