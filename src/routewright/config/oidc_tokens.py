"""`oidc/...`: a token of somebody else's that proves who we are, in LiteLLM's words for where it is found."""

from __future__ import annotations

import re

from routewright.config.section import Section

PREFIX = "oidc/"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}\Z")


def read_proof(params: Section, key: str, given: str) -> str | None:
    """A token, or the path of a file that holds one and is read anew each time. None: a fault is noted.

    `oidc/file/PATH`, `oidc/env/NAME`, `oidc/env_path/NAME` (a variable that holds a path); all else as it stands.
    """
    found = given
    if given.startswith(PREFIX):
        kind, _, rest = given.removeprefix(PREFIX).partition("/")
        if kind in ("env", "env_path") and _NAME.match(rest):
            found = params.notes.environ.get(rest) or ""
            if not found:
                params.error(key, f"the variable {rest} is not set")
                return None
            if kind == "env_path" and not is_path(found):
                params.error(key, f"the variable {rest} holds no path that begins with a slash")
                return None
        elif kind == "file" and rest:
            found = rest if rest.startswith("/") else f"./{rest}"
        else:
            params.error(key, "expected oidc/file/PATH, oidc/env/NAME or oidc/env_path/NAME")
            return None
    if is_path(found) and not params.notes.may_read_files:
        params.error(key, "expected the token itself: a stored model names no file")
        return None
    return found


def is_path(text: str) -> bool:
    """A token never begins so."""
    return text.startswith(("/", "./", "~"))
