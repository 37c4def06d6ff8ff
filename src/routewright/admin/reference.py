"""`/docs`: the OpenAPI document as one page without scripts, fonts or pictures from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Any

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--accent:#0a7d55;--post:#a85b00}
@media(prefers-color-scheme:dark){:root{--accent:#4cc38a;--post:#f0a45d}}
*{box-sizing:border-box}
body{font:16px/1.55 system-ui,sans-serif;margin:0 auto;max-width:56rem;padding:2rem 1.25rem 4rem}
h1{font-size:1.8rem;margin:0}h2{margin:2.5rem 0 .5rem;font-size:1.15rem;text-transform:capitalize}
p{margin:.35rem 0}code,pre{font:.875rem/1.5 ui-monospace,monospace}
pre{background:var(--soft);padding:.8rem 1rem;border-radius:.5rem;overflow-x:auto}
details{border:1px solid var(--line);border-radius:.5rem;margin:.5rem 0}
summary{cursor:pointer;padding:.6rem .9rem;display:flex;gap:.8rem;align-items:baseline;flex-wrap:wrap}
details>div{padding:0 .9rem .8rem;border-top:1px solid var(--line)}
.verb{font-weight:700;color:var(--accent);min-width:3.2rem}.post{color:var(--post)}
.key{margin-left:auto;font-size:.8rem;opacity:.75}
table{border-collapse:collapse;width:100%;margin:.5rem 0;font-size:.93rem}
td,th{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
"""
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode("ascii")
_EXAMPLE = """curl http://localhost:4000/v1/chat/completions \\
  -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\
  -d '{"model": "auto", "messages": [{"role": "user", "content": "Hello!"}]}'"""
_TAG_ORDER = (
    "inference",
    "responses",
    "files",
    "batches",
    "fine tuning",
    "models",
    "router",
    "key",
    "team",
    "user",
    "customer",
    "budget",
    "model",
    "audit",
    "cache",
    "health",
)


def reference_page(document: dict[str, Any]) -> tuple[str, str]:
    """The page, and the digest that its content security policy allows its style by."""
    by_tag: dict[str, list[str]] = {tag: [] for tag in _TAG_ORDER}
    for path, operations in sorted(document["paths"].items()):
        for verb, operation in operations.items():
            tag = operation.get("tags", ["other"])[0]
            by_tag.setdefault(tag, []).append(_operation(document, path, verb, operation))
    sections = "".join(f"<h2>{escape(tag)}</h2>{''.join(items)}" for tag, items in by_tag.items() if items)
    info = document["info"]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
        f"<p>{escape(info.get('summary', ''))}. Every path is served with and without <code>/v1</code>; "
        'the machine-readable form is <a href="/openapi.json">openapi.json</a>.</p>'
        f"<pre>{escape(_EXAMPLE)}</pre>{sections}</body></html>"
    )
    return page, _DIGEST


def _operation(document: dict[str, Any], path: str, verb: str, operation: dict[str, Any]) -> str:
    keys = [name for scheme in operation.get("security", ()) for name in scheme]
    needs_key = f'<span class="key">{escape(keys[0])}</span>' if keys else ""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    parts = [f"<p>{escape(operation.get('description', ''))}</p>"]
    if body is not None:
        parts.append(f"<p><b>Request</b></p>{_fields(document, body)}")
    for status, response in operation.get("responses", {}).items():
        schema = response.get("content", {}).get("application/json", {}).get("schema")
        parts.append(f"<p><b>{escape(status)}</b> {escape(response.get('description', ''))}</p>")
        if schema:
            parts.append(_fields(document, schema))
    return (
        f'<details><summary><span class="verb {escape(verb)}">{escape(verb.upper())}</span>'
        f"<code>{escape(path)}</code> <span>{escape(operation.get('summary', ''))}</span>{needs_key}</summary>"
        f"<div>{''.join(parts)}</div></details>"
    )


def _fields(document: dict[str, Any], schema: dict[str, Any]) -> str:
    schema = _resolved(document, schema)
    properties = schema.get("properties")
    if not properties:
        return ""
    required = schema.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(_type(document, field))}"
        f"{'' if name in required else ', optional'}</td><td>{escape(field.get('description', ''))}</td></tr>"
        for name, field in properties.items()
    )
    return f"<table><tr><th>Field</th><th>Type</th><th></th></tr>{rows}</table>"


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if not reference:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][reference.rpartition("/")[2]]
    return found


def _type(document: dict[str, Any], field: dict[str, Any]) -> str:
    if "$ref" in field:
        return str(field["$ref"].rpartition("/")[2])
    if "anyOf" in field:
        return " or ".join(_type(document, choice) for choice in field["anyOf"])
    if field.get("type") == "array":
        return f"list of {_type(document, field.get('items', {}))}"
    return str(field.get("type", "any"))
