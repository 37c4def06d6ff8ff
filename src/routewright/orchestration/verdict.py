"""Whether an answer is good enough to be the last one asked for, told without another model's help.

Source: AutoMix (arXiv:2310.12963) and FrugalGPT (arXiv:2305.05176) score an answer with a model of its own; these
signs are already in the answer, and cost nothing: how it ended, what it begins with, whether it is the JSON that was
asked for, how sure its tokens were, and whether a second sample says the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final, NamedTuple

import msgspec

from routewright.types import Call
from routewright.wire.schema import conforms, is_number

ACCEPTED: Final = ""
EMPTY, REFUSED, WRONG_JSON, TRUNCATED, DISAGREES, UNSURE = (
    "empty", "refused", "wrong JSON", "truncated", "samples disagree", "unsure",
)  # fmt: skip
_WORST_FIRST: Final = (EMPTY, REFUSED, WRONG_JSON, TRUNCATED, DISAGREES, UNSURE, ACCEPTED)

FEW_TOKENS: Final = 32
"""An answer that the caller bounds to so few tokens is meant to be cut: its first token is what they look at."""
OPENING_CHARS: Final = 200
MAX_COMPARED_CHARS: Final = 400
"""Longer answers say the same thing in too many ways to be compared by their words."""

_CANNOT = (
    r"(?:can't|cannot|can not|am unable to|am not able to|'m unable to|'m not able to|won't|will not|am not going to)"
)
_ACT = (
    r"(?:assist|help|provide|comply|fulfil|answer|do that|discuss|create|generate|write|share|support|continue|engage)"
)
_REFUSAL = re.compile(
    rf"(?:(?:i'm|i am|we're|we are) (?:really |very |so )?sorry|sorry|apologies|unfortunately|"
    rf"as an ai(?: language model| assistant)?)\b[,.]?\s{{1,4}}(?:but )?(?:i|we)\s?{_CANNOT}\b|"
    rf"(?:i|we)\s?{_CANNOT} (?:to )?{_ACT}\b"
)
"""English: other languages' refusals pass, as do those that look like an answer."""
_ANSWER = re.compile(r"(?:answer|result)(?: is|:)\s*(.{1,80})\s*$", re.DOTALL)
_NOT_WORD = re.compile(r"[\W_]+")
_decode = msgspec.json.Decoder().decode


class Verdict(NamedTuple):
    """What was found. `reason` is empty for an answer that is accepted."""

    reason: str
    logprob: float | None = None
    """Mean log-probability of the answer's tokens, where the upstream gave it."""

    @property
    def worth(self) -> int:
        """Orders answers that were not accepted: the larger, the sooner it may stand in."""
        return _WORST_FIRST.index(self.reason)


def judge(answer: dict[str, Any], call: Call, checks: Collection[str], min_logprob: float) -> Verdict:
    """Look at every choice of `answer`; the first fault found decides. An answer without text or tool call is empty.

    `checks`: of `truncated`, `refused`, `schema`, `logprob`.
    """
    choices = [choice for choice in answer.get("choices") or () if type(choice) is dict]
    logprob = _mean_logprob(choices)
    for choice in choices:
        reason = _fault(choice, call, checks)
        if reason:
            return Verdict(reason, logprob)
    if not choices:
        return Verdict(EMPTY)
    if "logprob" in checks and logprob is not None and logprob < min_logprob:
        return Verdict(UNSURE, logprob)
    return Verdict(ACCEPTED, logprob)


def _fault(choice: dict[str, Any], call: Call, checks: Collection[str]) -> str:
    text, tool_calls, is_refusal = _said(choice)
    finish = choice.get("finish_reason")
    if "refused" in checks and (is_refusal or finish == "content_filter"):
        return REFUSED
    # A bound of few tokens is often all spent on a thought that is not shown, so an empty answer is looked for first.
    if not text.strip() and not tool_calls:
        return EMPTY
    if "truncated" in checks and finish == "length" and not (call.max_tokens and call.max_tokens <= FEW_TOKENS):
        return TRUNCATED
    if "refused" in checks and text and _looks_like_refusal(text):
        return REFUSED
    if "schema" in checks and not (_tools_fit(tool_calls, call) and (tool_calls or _json_fits(text, call))):
        return WRONG_JSON
    return ACCEPTED


def _said(choice: dict[str, Any]) -> tuple[str, list[Any], bool]:
    """Text, tool calls, and whether the model itself calls it a refusal."""
    message = choice.get("message")
    if type(message) is not dict:
        text = choice.get("text")
        return text if type(text) is str else "", [], False
    content = message.get("content")
    tool_calls = message.get("tool_calls")
    return (
        content if type(content) is str else "",
        tool_calls if type(tool_calls) is list else [],
        bool(message.get("refusal")),
    )


def text_of(answer: dict[str, Any]) -> str:
    """The first choice's text; empty where it has none."""
    choices = answer.get("choices")
    first = choices[0] if type(choices) is list and choices else None
    return _said(first)[0] if type(first) is dict else ""


def _looks_like_refusal(text: str) -> bool:
    opening = text[:OPENING_CHARS].lstrip().casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return _REFUSAL.match(opening) is not None


def _json_fits(text: str, call: Call) -> bool:
    """Whether the text is the JSON that `response_format` asks for; True where it asks for none."""
    if not call.wants_json:
        return True
    try:
        value = _decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False
    wanted = call.body.get("response_format")
    wanted = wanted if type(wanted) is dict else {}
    if wanted.get("type") == "json_object":
        return type(value) is dict
    asked = wanted.get("json_schema")
    return type(asked) is not dict or conforms(value, asked.get("schema", True))


def _tools_fit(tool_calls: list[Any], call: Call) -> bool:
    """Whether each call names a function that was offered, with arguments as its schema wants them."""
    if not tool_calls:
        return True
    offered: dict[Any, Any] = {}
    for tool in call.body.get("tools") or ():
        function = tool.get("function") if type(tool) is dict else None
        if type(function) is dict and type(function.get("name")) is str:
            offered[function["name"]] = function.get("parameters", True)
    for made in tool_calls:
        function = made.get("function") if type(made) is dict else None
        if type(function) is not dict:
            continue  # another kind of tool, whose rules are the provider's
        name = function.get("name")
        if type(name) is not str or (offered and name not in offered):
            return False
        try:
            arguments = _decode(function.get("arguments") or "{}")
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError, TypeError):
            return False
        if not conforms(arguments, offered.get(name, True)):
            return False
    return True


def _mean_logprob(choices: list[dict[str, Any]]) -> float | None:
    """Over all tokens of all choices; None where an upstream gave none."""
    total, count = 0.0, 0
    for choice in choices:
        given = choice.get("logprobs")
        tokens = given.get("content") if type(given) is dict else None
        for token in tokens if type(tokens) is list else ():
            value = token.get("logprob") if type(token) is dict else None
            if is_number(value) and value == value:
                total += max(-100.0, min(0.0, value))  # -9999 stands for "not among the likely ones"
                count += 1
    return total / count if count else None


# --- two samples --------------------------------------------------------------------------------------------------


def is_short(answer: dict[str, Any]) -> bool:
    """Whether a second sample could be compared with this one by its words."""
    return 0 < len(text_of(answer).strip()) <= MAX_COMPARED_CHARS


def agree(one: str, other: str) -> bool:
    """Whether two short texts give the same answer: what follows a last `answer:`, or all of it, word for word."""
    return _core(one) == _core(other)


def _core(text: str) -> str:
    text = text.casefold().strip()
    found = _ANSWER.search(text)
    if found is not None:
        text = found.group(1)
    return _NOT_WORD.sub(" ", text).strip()
