"""OpenAI's clients of Responses at Responses: the body goes on as it came, and the events of the answer as they came.

What is ours are the model's name on both sides, and what is kept: nothing there, so that no caller finds what belongs
to another, and what a model thought comes along sealed. What names things in the account behind our credential (vector
stores, containers, stored items, files that are not the caller's) is refused by name. `usage` is read.
Source: OpenAI API reference, "Create a model response", "Streaming events", as of 2026-11.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from routewright.account_names import FILES, file_ids, names_in, reaches
from routewright.credentials import Credential
from routewright.dialect import GATEWAY_SEAL, Exchange, Spoken, Stream
from routewright.errors import GatewayError, InvalidRequest, UnsupportedField, UpstreamError
from routewright.providers import openai, openai_served, responses, responses_answers
from routewright.providers.openai import error_of
from routewright.providers.responses_answers import ENDS, failure_of, usage_of
from routewright.providers.translation import (
    DECODE_ERRORS,
    NativeStream,
    bad_answer,
    bad_event,
    data_of,
    decoded,
    drops,
    encode,
    own_count,
)
from routewright.providers.unasked import talking
from routewright.settings import DeploymentSettings
from routewright.types import Call, Deployment, Usage

TOOLS = frozenset(
    {"function", "custom", "namespace", "web_search", "web_search_2025_08_26", "web_search_preview",
     "web_search_preview_2025_03_11", "code_interpreter", "image_generation", "local_shell", "shell", "apply_patch",
     "computer", "computer_use_preview", "mcp", "tool_search", "programmatic_tool_calling"}
)  # fmt: skip
"""Not `file_search`, which searches the account's stores."""
ITEMS = frozenset(
    {"message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output",
     "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "computer_call",
     "computer_call_output", "local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output",
     "apply_patch_call", "apply_patch_call_output", "mcp_list_tools", "mcp_call", "mcp_approval_request",
     "mcp_approval_response", "tool_search_call", "tool_search_output", "additional_tools", "configuration_update",
     "compaction", "compaction_trigger", "program", "program_output"}
)  # fmt: skip
"""Not `item_reference`, which names what is kept in the account."""
_DEFAULTS = frozenset(
    {"temperature", "top_p", "parallel_tool_calls", "service_tier", "truncation", "reasoning", "text", "tools",
     "max_output_tokens", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "safety_identifier",
     "user", "max_tool_calls", "include", "instructions"}
)  # fmt: skip
"""Of a deployment's default parameters, those that mean the same here."""
_OURS = re.compile(r"(?:msg|rs|fc)_.*_\d+\Z")
"""Ids that the gateway made for the items of other providers' answers."""
MAX_ID = 64


def completed(call: Call, deployment: Deployment) -> dict[str, Any]:
    """The client's body with the deployment's defaults. Raises InvalidRequest for what reaches into the account."""
    is_dropped = drops(call, deployment)
    body = dict(call.body)
    if body.pop("background", None) and not is_dropped:
        raise UnsupportedField("background is not served: nothing is kept at the provider", param="background")
    body["tools"] = _tools(body.get("tools"), call.files, is_dropped=is_dropped)
    body["input"] = _input(body["input"], call.files, is_dropped=is_dropped)
    given = deployment.default_params
    if given:
        body = {**{name: value for name, value in given.items() if name in _DEFAULTS},
                **{name: value for name, value in body.items() if value not in (None, [])}}  # fmt: skip
        most = given.get("max_completion_tokens") or given.get("max_tokens")
        if most is not None:
            body.setdefault("max_output_tokens", most)
        if given.get("reasoning_effort") is not None:
            body.setdefault("reasoning", {"effort": given["reasoning_effort"]})
    if not body["tools"]:
        del body["tools"]
    if responses.reasons(deployment.upstream_model):
        include = body.get("include")
        include = include if type(include) is list else []
        if responses.SEALED_THINKING not in include:
            body["include"] = [*include, responses.SEALED_THINKING]
    for name in deployment.drop_params:
        body.pop(name, None)
    body["model"] = deployment.upstream_model
    body["store"] = False
    return body


def _tools(given: Any, files: Collection[str], *, is_dropped: bool) -> list[Any]:
    if given is None:
        return []
    if type(given) is not list:
        raise InvalidRequest("tools must be a list of objects", param="tools")
    kept = []
    for index, tool in enumerate(given):
        where = f"tools[{index}]"
        kind = tool.get("type") if type(tool) is dict else None
        if type(kind) is not str or kind not in TOOLS:
            if is_dropped:
                continue
            raise UnsupportedField("a tool of this type is not served", param=f"{where}.type")
        if kind == "code_interpreter" and type(tool.get("container")) is str:
            raise reaches(f"{where}.container")
        _look(tool, where, files)
        kept.append(tool)
    return kept


def _look(value: Any, where: str, files: Collection[str]) -> None:
    """Raises InvalidRequest for a name in the account, anywhere inside, that is not one of these `files`."""
    for name, place, inner in names_in(value, where):
        if name not in FILES or not set(file_ids(inner, place)).issubset(files):
            raise reaches(place)


def _input(given: Any, files: Collection[str], *, is_dropped: bool) -> Any:
    """Items as they came, but for what only the one that made them could use."""
    if type(given) is str:
        return given
    kept: list[dict[str, Any]] = []
    has_lost = False
    for index, item in enumerate(given):
        kind = item.get("type", "message")
        where = f"input[{index}]"
        if type(kind) is not str or kind not in ITEMS:
            if is_dropped:
                continue
            raise UnsupportedField("an item of this type is not served", param=f"{where}.type")
        if kind == "reasoning":
            sealed = item.get("encrypted_content")
            if type(sealed) is not str or not sealed or sealed.startswith(GATEWAY_SEAL):
                has_lost = True  # another provider's, or one that is kept nowhere
                continue
        for name in ("content", "output"):
            if type(item.get(name)) in (dict, list):
                _look(item[name], f"{where}.{name}", files)
        if kind == "additional_tools":
            item = {**item, "tools": _tools(item.get("tools"), files, is_dropped=is_dropped)}
        kept.append(item)
    return [_without_id(item) if has_lost or _is_ours(item.get("id")) else item for item in kept]


def _is_ours(item_id: Any) -> bool:
    return type(item_id) is str and (len(item_id) > MAX_ID or _OURS.match(item_id) is not None)


def _without_id(item: dict[str, Any]) -> dict[str, Any]:
    """Ids tie a call to the thinking before it; where that is gone the rest has to stand by itself."""
    if item.get("type", "message") not in ("message", "function_call", "function_call_output", "custom_tool_call"):
        return item
    return {name: value for name, value in item.items() if name != "id"}


# --- answers ------------------------------------------------------------------------------------------------------

_decode = msgspec.json.Decoder().decode


def _told(response: dict[str, Any], deployment: Deployment) -> dict[str, Any]:
    """A response as our client is told of it; `keeping.py` finds the last four in this order."""
    about = {"background": False, "previous_response_id": None, "store": False, "error": response.get("error")}
    kept = {name: value for name, value in response.items() if name not in about}
    return {**kept, "model": deployment.model_name, **about}


class Responses:
    """`/responses` to `/responses`."""

    stream_type = b"text/event-stream"
    unframe = None
    error_of = staticmethod(error_of)

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        return responses.request(completed(call, deployment), deployment)

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        response = decoded(_decode, body)
        if type(response) is not dict:
            raise bad_answer()
        if response.get("error") or response.get("status") == "failed":
            raise failure_of(response.get("error"), deployment)
        if response.get("status") == "cancelled":
            raise UpstreamError("the upstream gave the answer up")
        output = response.get("output")
        if type(output) is not list or any(type(item) is not dict for item in output):
            raise bad_answer()
        usage = usage_of(response.get("usage"), response.get("tool_usage"))
        if usage is None:
            usage = own_count(call, len(encode(output)))
            response["usage"] = _figures(usage)
        return encode(_told(response, deployment)), usage

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        return EventStream(call, deployment)


def _figures(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


class _Event(msgspec.Struct):
    type: str
    sequence_number: Any = None
    response: Any = None
    delta: Any = None
    message: Any = None
    code: Any = None
    param: Any = None
    error: Any = None


_decode_event = msgspec.json.Decoder(_Event).decode


class EventStream(NativeStream):
    """Events pass as they came, save for those that hold a response. The first of them wait for the first item, so that
    a failure before it can still be answered elsewhere; the last waits for the record."""

    def __init__(self, call: Call, deployment: Deployment) -> None:
        super().__init__(call, deployment)
        self._opening = b""
        self._has_begun = False
        self._number = 0
        """Of the last event."""
        self._begun: dict[str, Any] = {}
        """The response as it was told at the start."""

    def _event(self, event: bytes) -> bytes:
        data = data_of(event)
        if self.is_done or not data or data.strip() == b"[DONE]":
            return b""
        try:
            said = _decode_event(data)
        except DECODE_ERRORS as error:
            raise bad_event(error) from error
        kind = said.type
        if type(said.sequence_number) is int:
            self._number = said.sequence_number
        if kind == "error":
            given = said.error or {"code": said.code, "message": said.message, "param": said.param}
            raise failure_of(given, self._deployment)
        if said.response is not None:
            return self._response(kind, said.response, data)
        if not self._has_begun:
            raise bad_event()
        if type(said.delta) is str:
            self.output_chars += len(said.delta)
        if not event.startswith(b"event:"):
            event = _framed(kind, data.strip())
        opening, self._opening = self._opening, b""
        return opening + event if opening else event

    def _response(self, kind: str, response: Any, data: bytes) -> bytes:
        if type(response) is not dict:
            raise bad_event()
        if kind == "response.failed":
            raise failure_of(response.get("error"), self._deployment)
        whole = _decode(data)
        usage = usage_of(response.get("usage"), response.get("tool_usage"))
        if usage is not None:
            self.usage = usage
        elif kind in ENDS:
            whole["response"]["usage"] = _figures(self.counted_usage(self._call))
        whole["response"] = _told(whole["response"], self._deployment)
        event = _framed(kind, encode(whole))
        if kind in ENDS:
            if not self._has_begun:
                raise bad_event()
            self.finish_seen = self.is_done = True
            self.last = self._opening + event
        else:
            self._has_begun = True
            self._begun = whole["response"]
            self._opening += event
        return b""

    def failure(self, error: GatewayError, request_id: str) -> bytes:
        """In the words that this dialect has, as `wire/responses_answers.py` says it of other providers' streams."""
        code = "rate_limit_exceeded" if error.status == 429 else "server_error"
        told = {**self._begun, "status": "failed", "error": {"code": code, "message": error.message}}
        whole = {"type": "response.failed", "sequence_number": self._number + 1, "response": told}
        return _framed("response.failed", encode(whole))

    def finish(self) -> None:
        self.is_done = True


def _framed(kind: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


_ALL: Mapping[str, Exchange] = talking(responses_answers.Translated(time.time), responses=Responses())
_OWN: Mapping[str, Exchange] = {**openai_served.EXCHANGES, "responses": Responses()}
"""Chats stay chats; clients of Responses are served by them."""


def spoken(settings: DeploymentSettings, upstream_model: str, credential: Credential | None) -> Spoken:
    heads = openai.request_heads(settings, upstream_model)
    return _ALL if settings.by_responses == "all" else _OWN, heads
