"""What makes two requests the same: everything that the answer may depend on, and who asks."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from routewright.types import Call, Caller, Candidates

VERSION: Final = 2
"""Of the layout below and of `Entry`; a key of another version is another key."""
ENDPOINTS: Final = frozenset({"chat", "completions", "embeddings", "messages", "responses", "generate_content"})
"""Whose answers can be kept at all."""

_WITHOUT_MEANING = frozenset(
    {"model", "stream", "stream_options", "metadata", "prompt_cache_key", "prompt_cache_retention"}
)
"""Fields that say nothing of what is to be answered: how it is sent, what it is filed under, where it may be kept."""
_OWN_TOOLS = frozenset({None, "function", "custom"})
"""Kinds of tools that the client runs; all others are run by the provider, each time anew."""
_encode = msgspec.json.Encoder(order="deterministic").encode


def scope_of(caller: Caller, scope: str) -> str:
    """Who shares answers with this caller: `team` (or the key itself where it has none), `key` or `everyone`."""
    if scope == "everyone":
        return "everyone"
    if scope == "team" and caller.team_id:
        return f"team:{caller.team_id}"
    return f"key:{caller.key_hash}"


def key_of(call: Call, candidates: Candidates, scope: str, namespace: str) -> str:
    """64 hex digits. Called before an upstream's words are written into the body."""
    return _digest(_parts(call, candidates, scope, namespace, call.body)).hex()


def family_of(
    call: Call, candidates: Candidates, scope: str, namespace: str, *, rest: dict[str, Any], told: Sequence[str],
    maker: str,
) -> bytes:  # fmt: skip
    """32 bytes: all that requests have in common of which one may be answered with another's answer.

    `rest`: the body without what may differ. `told`: words of that which may not. `maker`: of the vectors.
    """
    return _digest([*_parts(call, candidates, scope, namespace, rest), "similar", told, maker])


def _digest(parts: list[Any]) -> bytes:
    return blake2b(_encode(parts), digest_size=32).digest()


def _parts(call: Call, candidates: Candidates, scope: str, namespace: str, given: dict[str, Any]) -> list[Any]:
    body = {name: value for name, value in given.items() if name not in _WITHOUT_MEANING}
    caps = call.caps
    return [
        VERSION, scope, namespace, call.endpoint, candidates.route, _deployments(candidates), call.quality,
        candidates.quality, None if caps is None else [caps.max_cost_usd, caps.max_latency_s], call.task,
        dict(call.forwarded), call.drop_params, call.user, call.allowed_region, body,
    ]  # fmt: skip


def _deployments(candidates: Candidates) -> list[Any]:
    """Who may answer, and how each is asked: where that is changed, what was kept is of others."""
    return [
        [group.name, [[d.id, d.provider, d.upstream_model, d.origin, d.default_params] for d in group.deployments]]
        for group in candidates.groups
    ]


def can_be_kept(call: Call) -> bool:
    """Whether an answer to this is words alone, which are as good the second time."""
    if call.endpoint not in ENDPOINTS or call.mock is not None:  # what was made up is nobody else's answer
        return False
    body = call.body
    if body.get("background") or body.get("store") or body.get("web_search_options") is not None:
        return False
    for name in ("previous_response_id", "conversation", "prompt_id", "mcp_servers", "container", "cachedContent"):
        if body.get(name) is not None:
            return False
    modalities = body.get("modalities")
    if type(modalities) is list and modalities != ["text"]:
        return False
    tools = body.get("tools")
    return type(tools) is not list or all(_is_clients_own(tool) for tool in tools)


def _is_clients_own(tool: Any) -> bool:
    if type(tool) is not dict:
        return False
    if "functionDeclarations" in tool or "function_declarations" in tool:  # Gemini's
        return len(tool) == 1
    kind = tool.get("type")
    return (type(kind) is str or kind is None) and kind in _OWN_TOOLS and bool(tool.get("name") or tool.get("function"))
