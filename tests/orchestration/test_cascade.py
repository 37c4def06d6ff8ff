"""A cascade at the socket: what each check rejects, who answers then, and that everything is paid for once."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from typing import Any

import pytest
from speakers import FEW_KEY, POOR_KEY, SINGLE_KEY, TOKENS_KEY, Speaker, bill_of, said

from harness.crowd import Leaver, chat_bytes, side_by_side
from harness.dialect import chat_completion, openai_error, response, to_json, usage
from harness.gateway import Gateway, eventually
from harness.upstream import Hang, Send, Until, Upstream, Wait
from harness.wire import Reply, assert_error

WANTS_CITY = {
    "type": "json_schema",
    "json_schema": {
        "name": "city",
        "schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def assert_adds_up(gateway: Gateway, reply: Reply, *speakers: Speaker) -> dict[str, int]:
    """L: the records of the request are what the upstreams sent, and one of them is the request's own."""
    request_id = reply.headers["x-request-id"]
    eventually(lambda: gateway.records_of(request_id), what="a record")
    bill = bill_of(gateway, request_id)
    assert bill["tokens"] == sum(speaker.tokens for speaker in speakers)
    assert bill["attempts"] == sum(speaker.hits for speaker in speakers)
    assert bill["requests"] == 1
    return bill


def test_first_stage_answers_when_nothing_is_wrong_with_it(stepping: Gateway, speakers: list[Speaker]) -> None:
    cheap, middle, dear = speakers

    reply = stepping.chat(model="cascade")

    assert reply.text == "Hello from cheap"
    assert reply.json["model"] == "cheap"
    assert reply.headers["x-routewright-cascade"] == "cheap accepted"
    assert reply.headers["x-routewright-model"] == "cheap"
    assert (cheap.hits, middle.hits, dear.hits) == (1, 0, 0)
    bill = assert_adds_up(stepping, reply, *speakers)
    assert float(reply.headers["x-litellm-response-cost"]) == pytest.approx(bill["cost_nusd"] / 1e9)
    record = stepping.record_of(reply)
    assert (record["model"], record["ended"], record["decision"]["stage"]) == ("cheap", "complete", "cascade")


@pytest.mark.parametrize(
    ("answer", "reason", "fields"),
    [
        (said("Once upon a", finish="length"), "truncated", {}),
        (said(""), "empty", {}),
        (said(None), "empty", {}),
        (said("I\N{RIGHT SINGLE QUOTATION MARK}m sorry, but I can't help with that."), "refused", {}),
        (said("", finish="content_filter"), "refused", {}),
        (said("Zürich"), "wrong JSON", {"response_format": WANTS_CITY}),
        (said('{"town": "Zürich"}'), "wrong JSON", {"response_format": WANTS_CITY}),
        (said("[1]"), "wrong JSON", {"response_format": {"type": "json_object"}}),
    ],
)
def test_next_stage_answers_when_the_first_is_rejected(
    answer: Any, reason: str, fields: dict[str, Any], stepping: Gateway, speakers: list[Speaker]
) -> None:
    """Each check, seen from outside: who was asked, what the client is told, what it costs."""
    cheap, middle, dear = speakers
    cheap.says(answer)
    middle.says('{"city": "Zürich"}')

    reply = stepping.chat(model="cascade", **fields)

    assert reply.text == '{"city": "Zürich"}'
    assert reply.headers["x-routewright-cascade"] == f"cheap rejected ({reason}); middle accepted"
    assert (cheap.hits, middle.hits, dear.hits) == (1, 1, 0)
    bill = assert_adds_up(stepping, reply, *speakers)
    assert float(reply.headers["x-litellm-response-cost"]) == pytest.approx(bill["cost_nusd"] / 1e9)
    rejected, given = sorted(stepping.records_of(reply.headers["x-request-id"]), key=lambda record: record["cost_nusd"])
    assert (rejected["model"], rejected["decision"]["verdict"]) == ("cheap", reason)
    assert rejected["decision"]["part_of"] == given["call_id"]
    assert (given["model"], given["decision"].get("verdict")) == ("middle", None)


def test_unsure_answer_is_rejected_and_its_log_probabilities_stay_here(
    stepping: Gateway, speakers: list[Speaker]
) -> None:
    """They are asked for where the route needs them, and the client, who did not ask, does not get them."""
    cheap, middle, _ = speakers
    cheap.says(said("Perhaps", logprob=-1.5))
    middle.says(said("Surely", logprob=-0.1))

    reply = stepping.chat(model="sure")

    assert reply.text == "Surely"
    assert reply.headers["x-routewright-cascade"] == "cheap rejected (unsure); middle accepted"
    assert reply.json["choices"][0]["logprobs"] is None
    assert cheap.deployment.last.json["logprobs"] is True
    assert_adds_up(stepping, reply, *speakers)
    logprobs = {r["model"]: r["decision"]["logprob"] for r in stepping.records_of(reply.headers["x-request-id"])}
    assert logprobs == {"cheap": -1.5, "middle": -0.1}


def test_log_probabilities_are_given_to_a_client_who_asks(stepping: Gateway, cheap: Speaker) -> None:
    cheap.says(said("Surely", logprob=-0.1))

    reply = stepping.chat(model="sure", logprobs=True)

    assert [token["logprob"] for token in reply.json["choices"][0]["logprobs"]["content"]] == [-0.1] * 3


def test_log_probabilities_are_not_asked_for_where_no_check_needs_them(stepping: Gateway, cheap: Speaker) -> None:
    stepping.chat(model="cascade")

    assert "logprobs" not in cheap.deployment.last.json


def test_upstream_without_log_probabilities_is_asked_without_and_remembered(
    stepping: Gateway, upstream: Upstream
) -> None:
    mute = Speaker(upstream, "mute")

    def refuses_logprobs(request: Any) -> Any:
        if request.json.get("logprobs"):
            return [Send(response(400, to_json(openai_error("logprobs are not supported", param="logprobs"))))]
        return [Send(response(200, to_json(said("Hello"))))]

    mute.says(refuses_logprobs)

    replies = [stepping.chat(model="unlogged") for _ in range(2)]

    assert [reply.text for reply in replies] == ["Hello", "Hello"]
    assert [request.json.get("logprobs") for request in mute.deployment.requests] == [True, None, None]


@pytest.mark.parametrize(("second", "accepted"), [("The answer is: 42.", "cheap"), ("Answer: 41", "middle")])
def test_two_samples_must_agree(second: str, accepted: str, stepping: Gateway, speakers: list[Speaker]) -> None:
    cheap, middle, _ = speakers
    cheap.says("I count. Answer: 42", second)
    middle.says("Answer: 42", "answer: 42")

    reply = stepping.chat(model="votes")

    assert reply.json["model"] == accepted
    assert cheap.hits == 2
    assert_adds_up(stepping, reply, *speakers)


def test_two_samples_come_in_one_answer_where_few_tokens_are_asked_for(
    stepping: Gateway, speakers: list[Speaker]
) -> None:
    """`n: 2` costs the prompt once; the client gets the one choice that it asked for."""
    cheap, middle, _ = speakers
    both = said("B")
    both["choices"].append({**both["choices"][0], "index": 1, "message": {"role": "assistant", "content": "b."}})
    cheap.says(both)

    reply = stepping.chat(model="votes", max_tokens=1)

    assert cheap.deployment.last.json["n"] == 2
    assert [choice["message"]["content"] for choice in reply.json["choices"]] == ["B"]
    assert (cheap.hits, middle.hits) == (1, 0)
    assert_adds_up(stepping, reply, *speakers)


def test_best_of_the_rejected_answers_when_all_are(stepping: Gateway, speakers: list[Speaker]) -> None:
    """Never an error where there is something to give: half an answer is better than a refusal."""
    cheap, middle, dear = speakers
    cheap.says(said("I cannot assist with that."))
    middle.says(said("Half an answ", finish="length"))
    dear.says(said("", finish="stop"))

    reply = stepping.chat(model="cascade")

    assert reply.status == 200
    assert reply.text == "Half an answ"
    assert reply.headers["x-routewright-cascade"] == (
        "cheap rejected (refused); middle rejected (truncated); dear rejected (empty); middle given"
    )
    assert reply.headers["x-routewright-model"] == "middle"
    assert_adds_up(stepping, reply, *speakers)


def test_stage_that_fails_is_passed_over(stepping: Gateway, speakers: list[Speaker]) -> None:
    """An upstream that fails in the middle costs nothing and ends nothing."""
    cheap, middle, _ = speakers
    cheap.says(said("Once upon a", finish="length"))
    middle.says(response(500, to_json(openai_error("on fire"))))

    reply = stepping.chat(model="cascade")

    assert reply.text == "Hello from dear"
    assert reply.headers["x-routewright-cascade"] == (
        "cheap rejected (truncated); middle failed (upstream_error); dear accepted"
    )
    assert_adds_up(stepping, reply, *speakers)


@pytest.mark.parametrize("stream", [False, True])
def test_earlier_answer_is_given_when_all_later_stages_fail(
    stream: bool, stepping: Gateway, speakers: list[Speaker]
) -> None:
    cheap, middle, dear = speakers
    cheap.says(said("Once upon a", finish="length"))
    for failing in (middle, dear):
        failing.says(response(503, to_json(openai_error("away"))))

    reply = stepping.chat(model="cascade", stream=stream)

    assert reply.status == 200
    assert reply.text == "Once upon a"
    assert reply.headers["x-routewright-cascade"].endswith("dear failed (upstream_error); cheap given")
    assert_adds_up(stepping, reply, *speakers)


def test_error_is_told_when_no_stage_has_an_answer(stepping: Gateway, speakers: list[Speaker]) -> None:
    for failing in speakers:
        failing.says(response(500, to_json(openai_error("on fire"))))

    reply = stepping.chat(model="cascade")

    assert_error(reply, 502, "upstream_error", type="api_error")
    record = stepping.record_of(reply)
    assert (record["cost_nusd"], record["attempts"]) == (0, 3)


def test_refused_request_is_not_sent_to_dearer_models(stepping: Gateway, speakers: list[Speaker]) -> None:
    """A 400 is of the caller's making, in a cascade too."""
    cheap, middle, _ = speakers
    cheap.says(response(400, to_json(openai_error("temperature is out of range", param="temperature"))))

    assert_error(stepping.chat(model="cascade"), 400)
    assert middle.hits == 0


# --- the dial -----------------------------------------------------------------------------------------------------


def test_ends_of_the_dial_ask_one_model(stepping: Gateway, speakers: list[Speaker]) -> None:
    """`:cheap` is the cheapest, whatever it says; `:best` the best-rated at once."""
    cheap, middle, dear = speakers
    cheap.says(said("Once upon a", finish="length"))

    assert stepping.chat(model="cascade:cheap").text == "Once upon a"
    assert stepping.chat(model="cascade:best").json["model"] != "cheap"
    assert cheap.hits == 1
    assert middle.hits + dear.hits == 1


# --- streams ------------------------------------------------------------------------------------------------------


def test_accepted_stage_is_streamed_as_events(stepping: Gateway, speakers: list[Speaker]) -> None:
    cheap = speakers[0]
    cheap.says("Hello from afar")

    reply = stepping.chat(model="cascade", stream=True, stream_options={"include_usage": True})

    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.headers["x-routewright-cascade"] == "cheap accepted"
    *chunks, figures, done = reply.events
    assert done == "[DONE]"
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "Hello from afar"}
    assert {chunk["model"] for chunk in chunks} == {"cheap"}
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert (figures["choices"], figures["usage"]["completion_tokens"]) == ([], 3)
    assert "stream" not in cheap.deployment.last.json
    assert_adds_up(stepping, reply, *speakers)


def test_client_of_a_stream_sees_no_word_of_a_rejected_stage(stepping: Gateway, speakers: list[Speaker]) -> None:
    """And the last stage streams as it comes, for there is nothing left to try."""
    cheap, middle, dear = speakers
    cheap.says(said("I'm sorry, but I can't say the canary word", finish="stop"))
    middle.says(said("canary canary", finish="length"))

    reply = stepping.chat(model="cascade", stream=True)

    assert reply.text == "Hello from dear"
    assert b"canary" not in reply.body
    assert dear.deployment.last.json["stream"] is True
    assert reply.headers["x-routewright-cascade"] == (
        "cheap rejected (refused); middle rejected (truncated); dear not judged"
    )
    bill = bill_of(stepping, reply.headers["x-request-id"])
    assert bill["tokens"] == cheap.tokens + middle.tokens + 12
    assert bill["attempts"] == 3


def test_tool_calls_are_judged_and_streamed(stepping: Gateway, speakers: list[Speaker]) -> None:
    cheap, middle, _ = speakers
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }

    def calls(arguments: str) -> Any:
        function = {"name": "weather", "arguments": arguments}
        return chat_completion(None, tool_calls=[{"id": "call_1", "type": "function", "function": function}])

    cheap.says(calls('{"town": "Zürich"}'))
    middle.says(calls('{"city": "Zürich"}'))

    reply = stepping.chat(model="cascade", stream=True, tools=[tool])

    [made] = [e["choices"][0]["delta"]["tool_calls"][0] for e in reply.events[:-1] if e["choices"][0]["delta"]]
    assert (made["index"], json.loads(made["function"]["arguments"])) == (0, {"city": "Zürich"})
    assert reply.headers["x-routewright-cascade"] == "cheap rejected (wrong JSON); middle accepted"


def test_legacy_completions_cascade_too(stepping: Gateway, speakers: list[Speaker]) -> None:
    cheap, middle, _ = speakers

    def completes(text: str, finish: str) -> Any:
        body = {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}],
            "usage": usage(),
        }
        return response(200, to_json(body))

    cheap.says(completes("Once", "length"))
    middle.says(completes("Once upon a time", "stop"))

    reply = stepping.request("POST", "/v1/completions", {"model": "cascade", "prompt": "Tell", "stream": True})

    assert [event["choices"][0]["text"] for event in reply.events[:-1]] == ["Once upon a time"]
    assert reply.headers["x-routewright-cascade"] == "cheap rejected (truncated); middle accepted"


# --- leaving, time, limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("with_reset", [False, True])
def test_client_that_leaves_in_the_second_stage_pays_for_both(
    stream: bool, with_reset: bool, stepping: Gateway, upstream: Upstream, speakers: list[Speaker]
) -> None:
    """F13, R12-R14: the second upstream is let go, and each stage is on record once."""
    cheap, middle, dear = speakers
    cheap.says(said("Once upon a", finish="length"))
    middle.says(lambda request: [Hang()])
    request_id = f"left-{stream}-{with_reset}"

    async def leave_in_stage_two() -> None:
        leaver = Leaver(chat_bytes("cascade", "x", request_id, stream=stream), after_s=0.3, with_reset=with_reset)
        await leaver.go(stepping.port)
        assert leaver.received == b""

    asyncio.run(leave_in_stage_two())

    eventually(lambda: len(stepping.records_of(request_id)) == 2, what="both records")
    eventually(lambda: upstream.in_use == 0, what="the upstream to be let go")
    by_model = {record["model"]: record for record in stepping.records_of(request_id)}
    assert by_model["cheap"]["decision"]["verdict"] == "truncated"
    assert (by_model["middle"]["ended"], by_model["middle"]["status"]) == ("client_gone", 499)
    assert by_model["middle"]["usage_estimated"]
    assert by_model["middle"]["cost_nusd"] > 0
    assert dear.hits == 0


def test_crowd_that_leaves_at_any_moment_is_recorded_to_the_last_call(
    stepping: Gateway, upstream: Upstream, speakers: list[Speaker]
) -> None:
    """F13, L: before, in and between the stages; each request has one record of its own, each answer one in all."""
    cheap, middle, _ = speakers
    cut = response(200, to_json(said("Once upon a", finish="length")))
    for speaker in (cheap, middle):
        speaker.says(lambda request: [Wait(0.05), Send(cut)])
    choose = random.Random(11)
    crowd = [
        Leaver(
            chat_bytes("cascade", "x", f"crowd-{number}", stream=number % 3 == 0),
            after_s=choose.random() * 0.25,
            with_reset=number % 2 == 0,
        )
        for number in range(80)
    ]

    asyncio.run(side_by_side(lambda client: client.go(stepping.port), crowd, at_once=20))

    eventually(lambda: upstream.in_use == 0, what="every upstream connection to be let go")

    def records() -> list[dict[str, Any]]:
        return [record for record in stepping.journal() if record["request_id"].startswith("crowd-")]

    def calls(speaker: Speaker) -> int:
        return sum(record["attempts"] for record in records() if record["model"] == speaker.name)

    # A call may be on record that its upstream has not read when the client left; never the other way round.
    eventually(lambda: all(calls(speaker) >= speaker.hits for speaker in speakers), what="every call on record")

    def own() -> list[dict[str, Any]]:
        return [record for record in records() if not (record["decision"] or {}).get("part_of")]

    def is_settled() -> bool:
        return {record["request_id"] for record in own()} == {record["request_id"] for record in records()}

    eventually(is_settled, what="every request's own record")
    assert len({record["request_id"] for record in own()}) == len(own())
    assert all(record["attempts"] for record in records() if record["model"])
    assert {record["ended"] for record in own()} <= {"client_gone", "complete"}


def test_time_of_the_request_is_for_all_stages_together(stepping: Gateway, speakers: list[Speaker]) -> None:
    """The limit runs from the start; what was answered before it is given."""
    cheap, middle, dear = speakers
    cheap.says(said("Once upon a", finish="length"))
    middle.says(lambda request: [Hang()])

    reply = stepping.chat(model="cascade", timeout=0.5)

    assert reply.text == "Once upon a"
    assert reply.headers["x-routewright-cascade"] == (
        "cheap rejected (truncated); middle failed (upstream_timeout); dear failed (upstream_timeout); cheap given"
    )
    assert dear.hits == 0


def test_every_stage_counts_as_a_request_of_the_key(stepping: Gateway, speakers: list[Speaker]) -> None:
    """Two a minute: the third stage is not asked, and the better of the two answers is given. Then 429."""
    cheap, middle, dear = speakers
    cheap.says(said("Once upon a", finish="length"))
    middle.says(said("I cannot assist with that."))

    reply = stepping.chat(model="cascade", key=FEW_KEY)

    assert reply.text == "Once upon a"
    assert reply.headers["x-routewright-cascade"].endswith("dear failed (rate_limit_exceeded); cheap given")
    assert dear.hits == 0
    assert_error(stepping.chat(model="cascade", key=FEW_KEY), 429, "rate_limit_exceeded")
    assert cheap.hits == 1


def test_one_parallel_request_is_enough_for_all_stages(stepping: Gateway, speakers: list[Speaker]) -> None:
    """One stage after the other: each gives its place back before the next takes one."""
    cheap, middle, _ = speakers
    cheap.says(said("Once upon a", finish="length"))
    middle.says(said("Once upon a", finish="length"))

    for _ in range(3):
        assert stepping.chat(model="cascade", key=SINGLE_KEY).text == "Hello from dear"

    told = threading.Event()
    cheap.says(lambda request: [Until(told), Send(response(200, to_json(said("Hello"))))])
    first: list[Reply] = []
    waiting = threading.Thread(target=lambda: first.append(stepping.chat(model="cascade", key=SINGLE_KEY)))
    waiting.start()
    eventually(lambda: cheap.hits == 1, what="the first to be under way")
    assert_error(stepping.chat(model="cascade", key=SINGLE_KEY), 429, "rate_limit_exceeded")
    told.set()
    waiting.join()
    assert first[0].text == "Hello"


def test_tokens_of_every_stage_count_for_the_key(stepping: Gateway, speakers: list[Speaker]) -> None:
    """What was used is settled with the window between two stages, to the token."""
    cheap, middle, _ = speakers
    cheap.says(said("Once upon a", finish="length", used=(1000, 100)))
    middle.says(said("Once upon a time", used=(1000, 300)))

    stepping.chat(model="cascade", key=TOKENS_KEY, max_tokens=100)
    cheap.says(said("Hello", used=(10, 5)))
    reply = stepping.chat(model="cascade", key=TOKENS_KEY, max_tokens=100)

    reserved = 3000 - int(reply.headers["x-ratelimit-remaining-tokens"]) - 2400
    assert 100 < reserved < 120  # this call's own: 100 and a short prompt


def test_stage_that_the_budget_has_no_room_for_is_not_asked(stepping: Gateway, speakers: list[Speaker]) -> None:
    """What a stage may cost at most is reserved before it; what was answered within the budget is given."""
    cheap, middle, _ = speakers
    cheap.says(said("Once upon a", finish="length"))

    reply = stepping.chat(model="cascade", key=POOR_KEY, max_tokens=40)

    assert reply.text == "Once upon a"
    assert reply.headers["x-routewright-cascade"] == (
        "cheap rejected (truncated); middle failed (budget_exceeded); cheap given"
    )
    assert middle.hits == 0


def test_cap_of_a_request_is_for_all_stages_together(stepping: Gateway, speakers: list[Speaker]) -> None:
    """A stage that the cap alone would allow is not asked where those before it have used it up."""
    cheap, middle, dear = speakers
    cheap.says(said("Once upon a", finish="length", used=(9, 900)))  # 360 millionths of a dollar

    reply = stepping.chat(model="cascade", max_tokens=100, routing={"max_cost_usd": 0.0005})

    assert reply.text == "Once upon a"
    assert reply.headers["x-routewright-cascade"] == (
        "cheap rejected (truncated); middle not asked (max_cost_usd); cheap given"
    )
    assert middle.hits + dear.hits == 0


# --- clients of another dialect -----------------------------------------------------------------------------------

QUESTION = {"model": "cascade", "max_tokens": 100, "messages": [{"role": "user", "content": "Tell me"}]}


def test_anthropics_clients_cascade_too(stepping: Gateway, speakers: list[Speaker]) -> None:
    cheap, middle, _ = speakers
    cheap.says(said("Once upon a", finish="length"))
    middle.says("Once upon a time")

    reply = stepping.request("POST", "/v1/messages", QUESTION)

    assert reply.json["content"] == [{"type": "text", "text": "Once upon a time"}]
    assert (reply.json["type"], reply.json["stop_reason"], reply.json["model"]) == ("message", "end_turn", "middle")
    assert reply.headers["x-routewright-cascade"] == "cheap rejected (truncated); middle accepted"
    assert_adds_up(stepping, reply, *speakers)


def test_anthropics_streams_show_no_rejected_word_either(stepping: Gateway, speakers: list[Speaker]) -> None:
    cheap, middle, _ = speakers
    cheap.says(said("canary canary", finish="length"))
    middle.says("Once upon a time")

    reply = stepping.request("POST", "/v1/messages", {**QUESTION, "stream": True})

    events = [event["type"] for event in reply.events]
    assert events[0] == "message_start"
    assert events[-1] == "message_stop"
    assert events.count("message_start") == 1
    texts = [e["delta"].get("text", "") for e in reply.events if e["type"] == "content_block_delta"]
    assert "".join(texts) == "Once upon a time"
    assert b"canary" not in reply.body
    assert_adds_up(stepping, reply, *speakers)


@pytest.mark.parametrize("verb", [":generateContent", ":streamGenerateContent?alt=sse"])
def test_geminis_clients_cascade_too(verb: str, stepping: Gateway, speakers: list[Speaker]) -> None:
    cheap, middle, _ = speakers
    cheap.says(said("canary canary", finish="length"))
    middle.says("Once upon a time")
    body = {"contents": [{"role": "user", "parts": [{"text": "Tell me"}]}]}

    reply = stepping.request("POST", f"/v1beta/models/cascade{verb}", body)

    assert reply.headers["x-routewright-cascade"] == "cheap rejected (truncated); middle accepted"
    assert b"Once upon a time" in reply.body
    assert b"canary" not in reply.body
    assert_adds_up(stepping, reply, *speakers)


@pytest.mark.parametrize("stream", [False, True])
def test_clients_of_responses_cascade_too(stream: bool, stepping: Gateway, speakers: list[Speaker]) -> None:
    cheap, middle, _ = speakers
    cheap.says(said("canary canary", finish="length"))
    middle.says("Once upon a time")

    reply = stepping.request("POST", "/v1/responses", {"model": "cascade", "input": "Tell me", "stream": stream})

    assert reply.headers["x-routewright-cascade"] == "cheap rejected (truncated); middle accepted"
    assert b"Once upon a time" in reply.body
    assert b"canary" not in reply.body
    assert_adds_up(stepping, reply, *speakers)


# --- what stays as it was -----------------------------------------------------------------------------------------


def test_other_routes_and_models_ask_once(stepping: Gateway, upstream: Upstream) -> None:
    """A route without `router: cascade` is as it was: one call, no header."""
    for model in ("auto", "gpt-4o"):
        reply = stepping.chat(model=model)
        assert "x-routewright-cascade" not in reply.headers
        assert len(stepping.records_of(reply.headers["x-request-id"])) == 1


def test_parts_are_counted_as_calls_and_not_as_requests(stepping: Gateway, speakers: list[Speaker]) -> None:
    cheap = speakers[0]
    cheap.says(said("Once upon a", finish="length"))
    before = metrics_of(stepping)

    stepping.chat(model="cascade")

    after = metrics_of(stepping)

    def grown(prefix: str) -> float:
        return sum(value - before.get(name, 0) for name, value in after.items() if name.startswith(prefix))

    assert grown("litellm_proxy_total_requests_metric") == 1
    assert grown("routewright_upstream_attempts") == 2
    assert grown("litellm_output_tokens_metric") == 6
    assert grown('routewright_parts_total{model="cheap",route="cascade",stage="cascade",verdict="truncated"}') == 1


def metrics_of(gateway: Gateway) -> dict[str, float]:
    text = gateway.request("GET", "/metrics", key=None).body.decode()
    lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}
