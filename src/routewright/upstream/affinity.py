"""The same session, conversation or key goes to the same deployment of a model, which has its cache and its state.

Where it goes is worked out of a hash, not remembered: each deployment is drawn a number for each key, and the highest
that may be used gets it. So all workers, replicas and later starts agree, a deployment that rests loses its own to the
others evenly and has them back afterwards, and a new one takes its share and no more. Only who was answered elsewhere
while its own could not answer is remembered, by the worker that did it, and stays there for a time.

Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998 (rendezvous hashing), with
weights after Schindelhauer and Schomaker, 2005. LiteLLM keeps a table in Redis instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import log
from typing import Any

import msgspec

from routewright.settings import AttemptSettings
from routewright.types import Call, Caller, Deployment, Group

PROMPT_CACHING, SESSION, DEPLOYMENT, RESPONSES = (
    "prompt_caching", "session_affinity", "deployment_affinity", "responses_api_deployment_check",
)  # fmt: skip
CHECKS = frozenset({PROMPT_CACHING, SESSION, DEPLOYMENT, RESPONSES})
LEAST_CACHED_TOKENS = 1024
"""Shorter prompts are kept by no provider."""
PREFIX_BYTES = 4096
"""Of what comes before the conversation, and of its first turn: long enough to tell conversations apart, and the same
for another question about the same document."""
PROMPT_KEPT_S = 300.0
"""How long providers keep a prompt that is not asked for again."""
MAX_ELSEWHERE = 10_000

_PARTS = {
    "chat": (("tools",), "messages"),
    "completions": ((), "prompt"),
    "messages": (("tools", "system"), "messages"),
    "generate_content": (("tools", "systemInstruction"), "contents"),
    "responses": (("tools", "instructions"), "input"),
}
"""Per endpoint: the fields that come before the conversation, and that of its turns."""
_USERS = frozenset({"user", None})
_SPREAD = float(1 << 64)
_encode = msgspec.json.Encoder().encode


class Key:
    """What is to go to one place, and for how long it stays where it had to go instead."""

    __slots__ = ("digest", "kept_s")

    def __init__(self, kept_s: float, *names: bytes) -> None:
        self.digest = blake2b(b"\0".join(names), digest_size=16).digest()
        self.kept_s = kept_s


class Affinity:
    """Chooses by key, for the checks that are configured."""

    def __init__(self, settings: AttemptSettings) -> None:
        self._checks = settings.affinity
        self._kept_s = settings.deployment_affinity_ttl_s
        self._elsewhere: dict[bytes, tuple[str, float]] = {}

    @staticmethod
    def of(settings: AttemptSettings) -> Affinity | None:
        """None where none is configured."""
        return Affinity(settings) if settings.affinity else None

    def key_of(self, call: Call, caller: Caller, model: str) -> Key | None:
        """The most particular that the call has; None: it may go anywhere."""
        checks, name = self._checks, model.encode()
        if SESSION in checks and call.session_id is not None:
            return Key(self._kept_s, name, b"session", caller.key_hash.encode(), call.session_id.encode())
        if RESPONSES in checks and call.endpoint == "responses":
            return Key(self._kept_s, name, b"responses", *_root(call))
        if PROMPT_CACHING in checks and call.prompt_tokens_estimate >= LEAST_CACHED_TOKENS and call.endpoint in _PARTS:
            return Key(PROMPT_KEPT_S, name, b"prompt", *_root(call))
        if DEPLOYMENT in checks and caller.key_hash:
            return Key(self._kept_s, name, b"key", caller.key_hash.encode())
        return None

    def choose(self, usable: Sequence[Deployment], key: Key, now: float) -> Deployment:
        """Of those that may be used: where it was lately, else its own."""
        kept = self._elsewhere.get(key.digest)
        if kept is not None and kept[1] > now:
            for deployment in usable:
                if deployment.id == kept[0]:
                    return deployment
        return _own(usable, key)

    def note(self, group: Group, deployment: Deployment, key: Key, now: float) -> None:
        """It was answered here."""
        kept = self._elsewhere
        kept.pop(key.digest, None)
        if _own(group.tiers[0], key) is not deployment:
            if len(kept) >= MAX_ELSEWHERE:
                for oldest in list(kept)[: MAX_ELSEWHERE // 10]:
                    del kept[oldest]
            kept[key.digest] = (deployment.id, now + key.kept_s)


def _own(usable: Sequence[Deployment], key: Key) -> Deployment:
    """The one with the highest number; a weight of two draws the highest twice as often as one."""
    return max(usable, key=lambda each: _drawn(each, key.digest))


def _drawn(deployment: Deployment, digest: bytes) -> float:
    drawn = int.from_bytes(blake2b(deployment.id.encode(), digest_size=8, key=digest).digest(), "big")
    return max(deployment.weight, 1e-9) / -log((drawn + 1.0) / (_SPREAD + 2.0))


def _root(call: Call) -> tuple[bytes, bytes]:
    """Where a conversation begins, which all its turns have: what stands before it, and the user's first turn."""
    before, turns = _PARTS[call.endpoint]
    body = call.body
    said = body.get(turns)
    heads: list[Any] = [body.get(name) for name in before]
    first: Any = said
    if type(said) is list:
        first = None
        for turn in said:
            if type(turn) is not dict or turn.get("role") in _USERS:
                first = turn.get("content", turn.get("parts")) if type(turn) is dict else turn
                break
            heads.append(turn.get("content"))
    return _encode(_unmarked(heads))[:PREFIX_BYTES], _encode(_unmarked(first))[:PREFIX_BYTES]


def _unmarked(value: Any) -> Any:
    """Without `cache_control`, which clients move along with a conversation."""
    if type(value) is list:
        return [_unmarked(each) for each in value]
    if type(value) is dict:
        return {name: _unmarked(each) for name, each in value.items() if name != "cache_control"}
    return value
