"""The section `guardrails`, in LiteLLM's words: `[{guardrail_name, litellm_params: {guardrail, mode, ...}}]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routewright.config.problems import nearest, shown
from routewright.config.section import Section, plain
from routewright.guardrails.rail import MODES
from routewright.guardrails.registry import kinds, make_guardrail
from routewright.settings import GuardrailSettings
from routewright.types import Secret

SAME_AS: Mapping[str, str] = {"presidio": "pii", "hide-secrets": "secrets", "generic_guardrail_api": "webhook"}
"""LiteLLM's words for what is done here too."""
LITELLM_ONLY = frozenset(
    {"aporia", "bedrock", "lakera", "lakera_v2", "guardrails_ai", "aim", "azure/prompt_shield",
     "azure/text_moderations",
     "model_armor", "pangea", "lasso", "pillar", "panw_prisma_airs", "openai_moderation", "noma", "tool_permission",
     "litellm_content_filter", "ibm_guardrails", "grayswan", "dynamoai", "enkryptai", "javelin", "zscaler_ai_guard",
     "onyx", "prompt_security", "qualifire", "custom_code", "unified_guardrail"}
)  # fmt: skip
_OWN = ("guardrail", "mode", "default_on", "fail_open", "unreachable_fallback")
_PRESIDIO_ONLY = ("presidio_", "mock_", "pii_")


async def _nobody(address: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> tuple[int, bytes]:
    raise ConnectionError(address)


def read_guardrails(top: Section) -> tuple[GuardrailSettings, ...]:
    """Those that can be run; faults are noted, and those of LiteLLM's that can't be run are told."""
    found: dict[str, GuardrailSettings] = {}
    for entry in top.sections("guardrails"):
        name = entry.text("guardrail_name", most=256)
        params = entry.section("litellm_params")
        entry.know("guardrail_info", "guardrail_id")
        if name is None:
            if "guardrail_name" not in entry.entries:
                entry.error("guardrail_name", "missing")
            continue
        if name in found:
            entry.error("guardrail_name", f'"{shown(name)}" stands above already')
        made = _one(name, params)
        entry.finish()
        if made is not None:
            found[name] = made
    return tuple(found.values())


def _one(name: str, params: Section) -> GuardrailSettings | None:
    word = params.text("guardrail")
    is_default_on = params.boolean("default_on") or False
    modes = params.names("mode")
    if word is None:
        if "guardrail" not in params.entries:
            params.error("guardrail", "missing")
        return None
    kind = SAME_AS.get(word, word)
    known = kinds()
    if kind not in known:
        _tell_unknown(params, word, known, is_default_on=is_default_on)
        return None
    is_fail_open = _fails_open(params)
    modes = modes or ("pre_call",)
    for mode in modes:
        if mode not in MODES:
            params.error("mode", f"expected {', '.join(MODES)}", nearest(mode, list(MODES)))
            return None
    given = _params(params, word)
    try:
        guardrail = make_guardrail(kind, name, given, _nobody)
    except ValueError as error:
        field, _, message = str(error).partition(": ")
        params.error(field if message else "guardrail", message or str(error))
        return None
    if getattr(guardrail, "restores", False) and "post_call" in modes:
        params.error("mode", "what is put back into an answer can't be taken out of it: expected pre_call alone")
    if "logging_only" in modes and not guardrail.is_quick:
        params.error("mode", "logging_only is for guardrails that ask no server")
    if set(modes) == {"post_call"} and not guardrail.for_answers:
        params.error("mode", "this guardrail looks at requests: expected pre_call")
    if guardrail.for_answers and not guardrail.for_requests and "post_call" not in modes:
        params.error("mode", "this guardrail looks at answers: expected post_call")
    return GuardrailSettings(
        name=name, kind=kind, modes=modes, is_default_on=is_default_on, is_fail_open=is_fail_open, params=given
    )


def _tell_unknown(params: Section, word: str, known: tuple[str, ...], *, is_default_on: bool) -> None:
    """What should look at every request and can't stops the start; what must be asked for is refused when it is."""
    is_theirs = word in LITELLM_ONLY or "." in word
    text = f'"{shown(word)}" is not run here' if is_theirs else f'nothing here is called "{shown(word)}"'
    hint = None if is_theirs else nearest(word, [*known, *SAME_AS])
    if is_theirs and (not is_default_on or params.notes.lenient):
        params.warn("guardrail", f"{text}: requests that ask for it are refused")
    else:
        params.error("guardrail", text, hint)


def _fails_open(params: Section) -> bool:
    is_open = params.boolean("fail_open") or False
    fallback = params.text("unreachable_fallback")
    if fallback is not None and fallback not in ("fail_open", "fail_closed"):
        params.error("unreachable_fallback", "expected fail_open or fail_closed")
    return is_open or fallback == "fail_open"


def _params(params: Section, word: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for key, node in params.entries.items():
        if key in _OWN:
            continue
        params.know(key)
        if key == "api_key":
            text = params.token(key)
            if text is not None:
                given[key] = Secret(text)
        else:
            given[key] = plain(node, params.notes, params.field(key))
    if word == "presidio":
        params.warn(
            "guardrail", "presidio is not asked: personal data is found by the gateway itself (docs/guardrails.md)"
        )
        entities = given.pop("pii_entities_config", None)
        restores = given.pop("output_parse_pii", None)
        for key in [key for key in given if key.startswith(_PRESIDIO_ONLY)]:
            params.notes.unsupported[params.field(key)] = None
            del given[key]
        if entities is not None:
            given["entities"] = entities
        if restores is not None:
            given["restore"] = restores
    elif word == "hide-secrets":
        given.setdefault("action", "MASK")
    return given
