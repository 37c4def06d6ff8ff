"""Servers that speak a dialect with an accent, and what every client hears of them."""

from __future__ import annotations

from typing import Any

import pytest

from harness import anthropic, bedrock, cohere, dialect, gemini, ollama, responses
from harness.dialect import to_json
from harness.heard import EARS, Heard
from harness.relay import Relayed
from harness.said import TONGUES
from providers.test_every_pair import UPSTREAMS

OTHERS = [client for client in EARS if client != "chat"]
"""Clients for whom the answers of OpenAI's dialect have to be translated."""


def answered(client: str, upstream: str, body: Any) -> Heard:
    relayed = Relayed(EARS[client].ask(), UPSTREAMS[upstream][1](), [to_json(body)])
    return EARS[client].hear(relayed.json)


def streamed(client: str, upstream: str, packets: list[bytes]) -> Relayed:
    return Relayed(EARS[client].ask(is_stream=True), UPSTREAMS[upstream][1](), packets)


def heard(client: str, upstream: str, packets: list[bytes]) -> Heard:
    ear = EARS[client]
    return ear.hear(ear.gather(streamed(client, upstream, packets).body))


def chunks(*deltas: dict[str, Any], finish: str = "tool_calls") -> list[bytes]:
    values = [*(dialect.chunk(delta) for delta in deltas), dialect.chunk({}, finish)]
    return [*(dialect.event(value) for value in (*values, dialect.chunk(None, usage=dialect.usage()))), dialect.DONE]


def begun(call_id: str, name: str, arguments: str = "", **more: Any) -> dict[str, Any]:
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}, **more}
    return {"tool_calls": [call]}


def more(arguments: str, **place: Any) -> dict[str, Any]:
    return {"tool_calls": [{"function": {"arguments": arguments}, **place}]}


# --- OpenAI's chat -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [{}, {"index": 0}, {"index": None}], ids=["none", "0", "null"])
@pytest.mark.parametrize("client", OTHERS)
def test_every_tool_call_by_one_index(client: str, index: dict[str, Any]) -> None:
    packets = chunks(
        begun("a", "weather", '{"city":', **index), more('"Bern"}', **index), begun("b", "now", "{}", **index),
        begun("c", "weather", '{"city":"Chur"}', **index),
    )  # fmt: skip
    expected = [("weather", {"city": "Bern"}), ("now", {}), ("weather", {"city": "Chur"})]
    assert heard(client, "vllm", packets).tools == expected


@pytest.mark.parametrize("client", OTHERS)
def test_id_and_name_with_every_piece(client: str) -> None:
    packets = chunks(*(begun("a", "weather", piece, index=0) for piece in ('{"city":', '"Bern"', "}")))
    assert heard(client, "vllm", packets).tools == [("weather", {"city": "Bern"})]


@pytest.mark.parametrize("client", OTHERS)
def test_finish_that_does_not_tell_of_the_tools(client: str) -> None:
    """OpenAI says `stop` where the request named its tool; Anthropic's clients would not look for calls then."""
    expected = "tool_calls" if EARS[client].tells_tools else "stop"
    assert heard(client, "openai", chunks(begun("a", "now", "{}", index=0), finish="stop")).finish == expected
    body = dialect.chat_completion(None, tool_calls=[dialect.TOOL_CALL])
    body["choices"][0]["finish_reason"] = "stop"
    assert answered(client, "openai", body).finish == expected
    assert heard(client, "openai", chunks(begun("a", "now", "{}", index=0), finish="length")).finish == "length"


@pytest.mark.parametrize("client", OTHERS)
def test_calls_that_are_gone_back_to_are_not_mixed_up(client: str) -> None:
    for deltas in (
        [begun("a", "now", "", index=0), begun("b", "now", "", index=1), more('{"x":1}', index=0)],
        [begun("a", "now", "", index=0), {"content": "so"}, more("{}", index=0)],
    ):
        relayed = streamed(client, "vllm", chunks(*deltas))
        assert relayed.outcome.ended == "upstream_failed" or relayed.error is not None
        assert not EARS[client].has_ended(relayed.body)


@pytest.mark.parametrize("client", OTHERS)
def test_content_in_parts_with_thinking_among_them(client: str) -> None:
    """Mistral's models that reason."""
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm "}, {"type": "text", "text": "ja"}]}
    so = {"type": "text", "text": "So"}
    packets = chunks({"content": [thinking]}, {"content": [so]}, {"content": "."}, finish="stop")
    whole = dialect.chat_completion()
    whole["choices"][0]["message"]["content"] = [thinking, so, {"type": "text", "text": "."}]
    for one in (heard(client, "mistral", packets), answered(client, "mistral", whole)):
        assert (one.thought, one.text, one.finish) == ("Hm ja", "So.", "stop")


# --- calls without arguments, and in one piece ---------------------------------------------------------------------

_BARE = {"id": "a", "type": "function", "function": {"name": "now", "arguments": None}}
WITHOUT_ARGUMENTS = {
    "openai": dialect.chat_completion(None, tool_calls=[_BARE]),
    "anthropic": anthropic.message(
        {"type": "tool_use", "id": "a", "name": "now", "input": None}, stop_reason="tool_use"
    ),
    "gemini": gemini.response({"functionCall": {"name": "now", "args": None}}),
    "bedrock": bedrock.response({"toolUse": {"toolUseId": "a", "name": "now", "input": None}}, stop="tool_use"),
    "cohere": cohere.response(finish="TOOL_CALL", tool_calls=[_BARE]),
    "ollama": ollama.response("", message={"tool_calls": [{"function": {"name": "now", "arguments": None}}]}),
    "responses": responses.response({**responses.CALL, "name": "now", "arguments": None}),
}
SAME_DIALECT = {
    ("chat", "openai"),
    ("messages", "anthropic"),
    ("generate_content", "gemini"),
    ("responses", "responses"),
}


def test_every_dialect_has_a_call_without_arguments() -> None:
    assert set(WITHOUT_ARGUMENTS) == set(TONGUES)


@pytest.mark.parametrize("upstream", WITHOUT_ARGUMENTS)
@pytest.mark.parametrize("client", EARS)
def test_call_without_arguments(client: str, upstream: str) -> None:
    if (client, upstream) not in SAME_DIALECT:  # whose bytes pass as they came
        assert answered(client, upstream, WITHOUT_ARGUMENTS[upstream]).tools == [("now", {})]


@pytest.mark.parametrize("client", OTHERS)
def test_streamed_calls_without_arguments(client: str) -> None:
    packets = chunks(begun("a", "now", index=0), begun("b", "now", index=1), begun("c", "now", "{}", index=2))
    assert heard(client, "vllm", packets).tools == [("now", {})] * 3


@pytest.mark.parametrize("client", [client for client in EARS if client != "messages"])
def test_arguments_that_stand_at_the_start_of_their_block(client: str) -> None:
    """Servers of Anthropic's dialect that tell a call in one piece."""
    call = {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Bern"}}
    packets = [
        anthropic.start(), anthropic.block_start(0, call), anthropic.block_stop(0),
        anthropic.block_start(1, {**call, "id": "b", "input": {}}), anthropic.block_stop(1),
        anthropic.end("tool_use"), anthropic.STOP,
    ]  # fmt: skip
    assert heard(client, "anthropic", packets).tools == [("weather", {"city": "Bern"}), ("weather", {})]


# --- every event ---------------------------------------------------------------------------------------------------

EVERY_EVENT = {
    "anthropic": anthropic.every_event(),
    "gemini": gemini.every_event(),
    "bedrock": bedrock.every_event(),
    "cohere": cohere.every_event(),
    "ollama": ollama.every_line(),
}


@pytest.mark.parametrize("upstream", EVERY_EVENT)
@pytest.mark.parametrize("client", EARS)
def test_every_event_of_an_upstream_is_read(client: str, upstream: str) -> None:
    """Also kinds that are yet to come, which are passed over."""
    relayed = streamed(client, upstream, EVERY_EVENT[upstream])
    assert relayed.outcome.ended == "complete"
    expected = streamed("chat", upstream, EVERY_EVENT[upstream])
    assert (relayed.usage, relayed.outcome.cost_nusd) == (expected.usage, expected.outcome.cost_nusd)
    if (client, upstream) not in SAME_DIALECT:  # whose own tools and citations are told as they came
        one = EARS[client].hear(EARS[client].gather(relayed.body))
        other = EARS["chat"].hear(EARS["chat"].gather(expected.body))
        assert (one.text, one.thought, one.tools) == (other.text, other.thought, other.tools)


TOLD: dict[str, set[str]] = {
    "messages": {
        "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
        "message_stop", "error",
    },
    "responses": {
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.done", "response.content_part.done",
        "response.output_item.done", "response.refusal.delta", "response.refusal.done",
        "response.reasoning_summary_part.added", "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done", "response.reasoning_summary_part.done",
        "response.function_call_arguments.delta", "response.function_call_arguments.done", "response.completed",
        "response.incomplete", "response.failed",
    },
}  # fmt: skip
"""Every kind of event that a client's dialect has for what a model says, and for how that can end."""


@pytest.mark.parametrize("client", TOLD)
def test_every_event_of_a_client_s_dialect_is_told(client: str) -> None:
    bodies = [streamed(client, upstream, packets).body for upstream, packets in EVERY_EVENT.items()]
    broken = [*chunks({"content": "so"})[:1], dialect.event({"error": {"message": "x"}})]
    refused = chunks({"refusal": "I"}, {"refusal": " won't"}, finish="stop")
    for packets in (refused, chunks({"content": "so"}, finish="length"), broken):
        bodies.append(streamed(client, "openai", packets).body)
    lines = [line for body in bodies for line in body.decode().split("\n")]
    assert {line.removeprefix("event: ") for line in lines if line.startswith("event: ")} - {"ping"} >= TOLD[client]
    assert {line.removeprefix("event: ") for line in lines if line.startswith("event: response.")} <= TOLD["responses"]
