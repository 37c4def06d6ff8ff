"""Settings that may be changed while the gateway serves: kept in the store, and laid over the file before it is read.

So what was changed is checked by the very rules of the file, together with all the rest of it. Only what is listed here
may be changed: nothing that a running process can't take on, nothing that is or leads to a credential, and nothing of
money, of privacy, or of what is deleted when. A gateway that starts serves by its file until its store has answered; a
budget must not be open for so long, a prompt not be kept, a row not be deleted.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from routewright.config.section import ENVIRONMENT
from routewright.config.source import Node, read_tree, tree_of

FILE = "store"
Overrides = Mapping[str, Mapping[str, Any]]
"""Section -> name -> value as JSON has it."""

CHANGEABLE: dict[str, dict[str, str]] = {
    "general_settings": {
        "max_request_size_mb": "largest body of a request",
        "max_response_size_mb": "largest whole answer of an upstream",
        "max_wrong_keys_per_minute": "wrong keys from one address before it is refused for the rest of the minute",
        "background_health_checks": "ask deployments from time to time whether they answer",
        "health_check_interval": "seconds between these questions",
    },
    "litellm_settings": {
        "num_retries": "times a deployment is asked again",
        "request_timeout": "seconds for a whole answer",
        "drop_params": "leave out what a provider does not know, rather than refuse it",
        "allowed_fails": "failures a minute before a deployment is left alone",
        "fallbacks": "models asked in place of one that fails",
        "context_window_fallbacks": "models asked where a prompt is too long",
        "content_policy_fallbacks": "models asked where a provider refuses what was said",
        "default_fallbacks": "models asked in place of any that fails",
    },
    "router_settings": {
        "routing_strategy": "how one of several deployments is chosen",
        "num_retries": "times a deployment is asked again",
        "retry_after": "seconds between these times, at least",
        "timeout": "seconds for a whole answer",
        "allowed_fails": "failures a minute before a deployment is left alone",
        "allowed_fails_policy": "the same by kind of error",
        "cooldown_time": "seconds for which it is left alone",
        "disable_cooldowns": "leave none alone",
        "retry_policy": "retries by kind of error",
        "model_group_retry_policy": "the same by model",
        "model_group_alias": "other names for models",
        "max_fallbacks": "models asked for one request at most, beside the first",
        "fallbacks": "models asked in place of one that fails",
        "context_window_fallbacks": "models asked where a prompt is too long",
        "content_policy_fallbacks": "models asked where a provider refuses what was said",
        "default_fallbacks": "models asked in place of any that fails",
        "enable_pre_call_checks": "pass over deployments whose context is too short, or whose region is another",
        "enable_tag_filtering": "choose deployments by tags",
        "tag_filtering_match_any": "one tag in common is enough",
        "hedging": "when a second deployment is asked beside the first",
    },
}
MAX_BYTES = 64 * 1024


def refusal(section: str, name: str, value: Any = None) -> str:
    """Why this may not be changed, or not to this; empty where it may."""
    known = CHANGEABLE.get(section)
    if known is None:
        return f"{section} can't be changed while serving; sections that can: {', '.join(CHANGEABLE)}"
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        return f"{section}.{name} can't be changed while serving{hint}; /config/list names what can"
    if _names_a_variable(value):
        return f"{section}.{name}: {ENVIRONMENT}NAME can only stand in the file"
    return ""


def _names_a_variable(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_names_a_variable(each) for pair in value.items() for each in pair)
    if isinstance(value, list):
        return any(map(_names_a_variable, value))
    return isinstance(value, str) and value.startswith(ENVIRONMENT)


def lay_over(root: Node, overrides: Overrides) -> None:
    """Put what the store says in the place of what the file says. Values that may not be changed any more are left as
    the file has them: the list may have become shorter."""
    assert isinstance(root.value, dict)
    for section, values in overrides.items():
        allowed = {name: value for name, value in values.items() if not refusal(section, name, value)}
        if not allowed:
            continue
        node = root.value.get(section)
        if node is None or node.value is None:
            node = root.value[section] = Node({}, FILE, 1, 1)
        if isinstance(node.value, dict):
            node.value.update({name: tree_of(value, FILE) for name, value in allowed.items()})


def values_in(path: Path) -> dict[str, dict[str, Any]]:
    """What the file itself says of all that may be changed. Raises ConfigError."""
    root = read_tree(path)
    found: dict[str, dict[str, Any]] = {}
    for section, names in CHANGEABLE.items():
        node = root.value.get(section) if isinstance(root.value, dict) else None
        entries = node.value if node is not None and isinstance(node.value, dict) else {}
        found[section] = {name: _plain(entries[name]) for name in names if name in entries}
    return found


def _plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {name: _plain(entry) for name, entry in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(entry) for entry in node.value]
    return node.value
