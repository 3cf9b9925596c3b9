"""The page /docs: every route of the OpenAPI document as HTML, without scripts, and loaded from nowhere else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;color:#1b1f24;background:#fff}"
    "h2{margin-top:3rem}summary{cursor:pointer;padding:.4rem 0}code,pre{font:14px/1.4 ui-monospace,monospace}"
    "pre{background:#f3f4f6;padding:.8rem;overflow:auto}details{border-bottom:1px solid #d8dde3;padding:.2rem 0}"
    "table{border-collapse:collapse}td,th{border:1px solid #d8dde3;padding:.2rem .6rem;text-align:left}"
    "b{display:inline-block;min-width:4.5rem}"
    "@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#16181c}pre{background:#22262c}a{color:#8ab4f8}}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'"
"""The Content-Security-Policy of the page: its own style sheet, and nothing else."""


def page(document: Mapping[str, Any]) -> str:
    """Return the page of an OpenAPI document."""
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    info = document["info"]
    contents = " · ".join(f'<a href="#{tag}">{tag}</a>' for tag in groups)
    body = "".join(f'<h2 id="{tag}">{tag}</h2>{"".join(found)}' for tag, found in groups.items())
    about = "".join(f"<p>{escape(part)}</p>" for part in info["description"].split("\n\n"))
    schemas = "".join(
        f'<details id="{name}"><summary><code>{name}</code></summary>{_json(schema)}</details>'
        for name, schema in document["components"]["schemas"].items()
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{info["title"]} API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{info['title']} API {info['version']}</h1>{about}"
        f'<p>{contents} · <a href="#schemas">schemas</a> · <a href="openapi.json">openapi.json</a></p>{body}'
        f'<h2 id="schemas">schemas</h2>{schemas}</body></html>'
    )


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    parameters = operation["parameters"]
    parts = [f"<p>{escape(operation['description'])}</p>"]
    if parameters:
        rows = "".join(_parameter(p) for p in parameters)
        parts.append(f"<table><tr><th>parameter</th><th>in</th><th>value</th></tr>{rows}</table>")
    if "requestBody" in operation:
        parts += ["<p>body</p>", _json(operation["requestBody"]["content"]["application/json"]["schema"])]
    done = {status: answer for status, answer in operation["responses"].items() if "$ref" not in answer}
    for status, answer in done.items():
        parts.append(f"<p>{status}: {escape(answer['description'])}</p>")
        parts += [_json(content["schema"]) for content in answer.get("content", {}).values()]
    parts.append(f"<p>problems: {', '.join(s for s in operation['responses'] if s not in done)}</p>")
    head = f"<b>{method.upper()}</b> <code>{escape(path)}</code> {escape(operation['summary'])}"
    return f'<details id="{operation["operationId"]}"><summary>{head}</summary>{"".join(parts)}</details>'


def _parameter(parameter: Mapping[str, Any]) -> str:
    required = " (required)" if parameter.get("required") else ""
    about = escape(parameter.get("description", ""))
    schema = escape(json.dumps(parameter["schema"], ensure_ascii=False))
    cells = f"{parameter['name']}{required}", parameter["in"], f"<code>{schema}</code> {about}"
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _json(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"
