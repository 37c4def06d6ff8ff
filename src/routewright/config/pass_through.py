"""`general_settings.pass_through_endpoints` -> settings."""

from __future__ import annotations

import re

from routewright.config.deployments import headers_of
from routewright.config.section import Section
from routewright.settings import PassThroughSettings

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
        entry.finish({"guardrails", "merge_query_params", "default_query_params", "methods"})
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
                )
            )
    return tuple(found)
