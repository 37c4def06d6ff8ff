"""Prompt injection, by rules: phrases that try to take a model's instructions away, to read them out or to change its
part. It is a score of words: it stops what is copied from lists, and not somebody who thinks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from routewright.guardrails.contract import Blocked, Guardrail, Seen
from routewright.guardrails.disguise import encoded, visible
from routewright.guardrails.finders import PIECE_CHARS
from routewright.guardrails.finding import refuse_others, take

OVERLAP_CHARS = 300
"""No rule spans more."""
_GAP = r"[^.\n]{0,40}?"
_RULES: tuple[tuple[float, str], ...] = (
    (0.8, r"\b(?:ignore|disregard|forget|override|bypass)\b" + _GAP
        + r"\b(?:previous|prior|above|earlier|preceding|all|your|system)\b" + _GAP
        + r"\b(?:instructions?|prompts?|rules?|directions?|guidelines?|messages?)\b"),
    (0.6, r"\b(?:reveal|show|print|repeat|output|leak|tell me)\b" + _GAP
        + r"\b(?:system prompt|initial prompt|hidden instructions?|your instructions?|your prompt)\b"),
    (0.5, r"\byou are (?:now|no longer)\b"),
    (0.5, r"\b(?:pretend|act|behave|respond|roleplay)\b" + _GAP + r"\b(?:no|without|free of|not bound by)\b" + _GAP
        + r"\b(?:restrictions?|rules?|limits?|filters?|guidelines?|ethics)\b"),
    (0.7, r"\b(?:do anything now|dan mode|developer mode|jailbreak(?:ed)?|god mode)\b"),
    (0.5, r"(?:<\|im_start\|>|<\|system\|>|\[/?inst\]|<<sys>>|###\s{0,3}(?:system|instruction))"),
    (0.4, r"\b(?:new|updated|real) (?:instructions?|system prompt|rules)\s{0,3}:"),
    (0.4, r"\b(?:decode|decrypt|execute|follow)\b" + _GAP + r"\b(?:base64|rot13|hex)\b"),
)  # fmt: skip


class Injection(Guardrail):
    """`prompt_injection`: blocks requests whose score is at `threshold` (0.7) or above; 0 is nothing, 1 is certain."""

    for_answers = False

    def __init__(self, name: str, params: Mapping[str, Any]) -> None:
        refuse_others(params, "threshold")
        super().__init__(name, {})
        self._threshold = float(take(params, "threshold", (int, float), 0.7))
        if not 0 < self._threshold <= 1:
            raise ValueError("threshold: expected a number above 0, at most 1")
        self._rules = [(weight, re.compile(rule).search) for weight, rule in _RULES]

    def look(self, seen: Seen) -> None:
        texts = [*seen.texts, *[inner for text in seen.texts for _, _, inner in encoded(text)]]
        if max((self.score(text) for text in texts), default=0.0) >= self._threshold:
            seen.count("prompt_injection")
            raise Blocked("the prompt looks like an attempt to take the model's instructions away")

    def score(self, text: str) -> float:
        """0..1; each rule that applies takes its share of what was left."""
        left = 1.0
        todo = list(self._rules)
        plain = " ".join(visible(text).lower().split())
        for at in range(0, max(1, len(plain)), PIECE_CHARS):
            piece = plain[max(0, at - OVERLAP_CHARS) : at + PIECE_CHARS]
            for rule in list(todo):
                weight, search = rule
                if search(piece):
                    left *= 1.0 - weight
                    todo.remove(rule)
        return 1.0 - left
