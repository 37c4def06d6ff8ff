"""`general_settings.pass_through_endpoints` -> settings."""

from __future__ import annotations

import re

from routewright.config.deployments import headers_of
from routewright.config.section import Section
from routewright.settings import PassThroughSettings

_TEXTS = re.compile(r"[A-Za-z0-9_\-]{1,128}(?:\[\*\])?(?:\.[A-Za-z0-9_\-]{1,128}(?:\[\*\])?){0,16}\Z")
_PATH = re.compile(r"/[A-Za-z0-9_\-.~/]{0,255}\Z")


def pass_through_endpoints(general: Section) -> tuple[PassThroughSettings, ...]:
    """What the gateway itself serves at one of these paths goes on being served; the start says so."""
    found: list[PassThroughSettings] = []
    for entry in general.sections("pass_through_endpoints"):
        path, target = entry.text("path", most=256), entry.url("target")
        headers = headers_of(entry, ("headers",))
        auth = entry.boolean("auth")
        forwards = entry.boolean("forward_headers")
        subpaths = entry.boolean("include_subpath")
        cost = entry.number("cost_per_request", most=1000.0)
        entry.know("id", "description")
        guardrails, request_texts, answer_texts = _guardrails(entry)
        entry.finish({"merge_query_params", "default_query_params", "methods"})
        for key, value in (("path", path), ("target", target)):
            if value is None and entry.entries.get(key) is None:
                entry.error(key, "missing")
        if path is None or target is None:
            continue
        path = path.rstrip("/")
        if not _PATH.match(path) or "//" in path or any(part in (".", "..") for part in path.split("/")):
            entry.error("path", "expected a path such as /v1/search, of letters, digits and -_.~")
        elif any(path == other.path for other in found):
            entry.error("path", "stands above already")
        else:
            if auth is False:
                entry.warn("auth", "whoever reaches this port may use this path, with the headers that it sends")
            found.append(
                PassThroughSettings(
                    path=path,
                    target=target,
                    headers=headers,
                    needs_key=auth is not False,
                    forwards_headers=forwards or False,
                    includes_subpaths=subpaths or False,
                    cost_usd=cost,
                    guardrails=guardrails,
                    request_texts=request_texts,
                    answer_texts=answer_texts,
                )
            )
    return tuple(found)


def _guardrails(entry: Section) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """(names, paths of a request's texts, of an answer's): LiteLLM's `guardrails`, a list or a mapping of names."""
    node = entry.entries.get("guardrails")
    if node is None or not isinstance(node.value, dict):
        return entry.names("guardrails") or (), (), ()
    asked: dict[str, None] = {}
    told: dict[str, None] = {}
    named = entry.section("guardrails")
    for name, of_one in named.entries.items():
        if of_one.value is None:
            named.know(name)
            continue
        fields = named.section(name)
        for key, paths in (("request_fields", asked), ("response_fields", told)):
            for path in fields.names(key) or ():
                if not _TEXTS.match(path):
                    fields.error(key, "expected paths such as query or documents[*].text")
                paths[path] = None
        fields.finish()
    return tuple(named.entries), tuple(asked), tuple(told)
