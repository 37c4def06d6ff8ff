"""Pictures, speech, moderation and rankings: what goes up, what comes back, and what it is billed as."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from harness import dialect
from harness.dialect import to_json
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, eventually
from harness.upstream import Close, Send, Until, Upstream
from harness.wire import request_bytes

PICTURE = {"created": 1, "data": [{"b64_json": "aGk="}]}
FIGURES = {"total_tokens": 300, "input_tokens": 100, "output_tokens": 200,
           "input_tokens_details": {"text_tokens": 60, "image_tokens": 40}}  # fmt: skip


def sound(*pieces: bytes, kind: str = "audio/mpeg", whole: bool = True) -> list[Send | Close]:
    head = dialect.head(200, {"content-type": kind, "transfer-encoding": "chunked"})
    steps: list[Send | Close] = [Send(head), *(Send(dialect.http_chunk(piece)) for piece in pieces)]
    return [*steps, Send(dialect.LAST_HTTP_CHUNK) if whole else Close()]


# --- pictures -------------------------------------------------------------------------------------------------------


def test_picture_goes_through_and_is_billed_by_its_size_and_quality(media: Gateway, upstream: Upstream) -> None:
    upstream["picture"].answers(200, PICTURE)
    body = {"model": "picture", "prompt": "a cat", "size": "1024x1792", "quality": "hd", "tags": ["a"]}
    reply = media.request("POST", "/v1/images/generations", body)
    assert reply.json == PICTURE
    sent = upstream["picture"].last
    assert sent.path == "v1/images/generations"
    assert sent.json == {"model": "dall-e-3", "prompt": "a cat", "size": "1024x1792", "quality": "hd"}
    record = media.record_of(reply)
    assert record["endpoint"] == "images"
    assert record["cost_nusd"] == 120_000_000
    assert record["is_priced"] is True
    assert record["units"] == {"images": 1}
    assert record["ended"] == "complete"
    assert reply.headers["x-litellm-response-cost"] == "0.120000000"

    def row() -> Any:
        rows = media.request("GET", f"/spend/logs?request_id={record['call_id']}", key=MASTER_KEY).json
        return rows[0] if rows else None

    told = eventually(row, what="its row in the ledger")
    assert (told["spend"], told["metadata"]["units"], told["call_type"]) == (0.12, {"images": 1}, "images")


def test_picture_by_tokens_is_billed_by_what_the_provider_tells(media: Gateway, upstream: Upstream) -> None:
    """gpt-image-1: 5 USD a million tokens of text, 10 of pictures read, 40 of pictures made."""
    upstream["token-picture"].answers(200, {**PICTURE, "usage": FIGURES})
    reply = media.request("POST", "/images/generations", {"model": "token-picture", "prompt": "a cat"})
    record = media.record_of(reply)
    assert (record["prompt_tokens"], record["completion_tokens"]) == (100, 200)
    assert record["cost_nusd"] == 60 * 5_000 + 40 * 10_000 + 200 * 40_000
    assert not record["usage_estimated"]


@pytest.mark.parametrize(("model", "priced", "cost"), [("own-priced-picture", True, 140_000_000),
                                                       ("unpriced-picture", False, 0)])  # fmt: skip
def test_pictures_cost_what_the_configuration_says_or_are_marked_unpriced(
    media: Gateway, upstream: Upstream, model: str, priced: bool, cost: int
) -> None:
    upstream[model].answers(200, {"created": 1, "data": [{"url": "https://x"}, {"url": "https://y"}]})
    reply = media.request("POST", "/images/generations", {"model": model, "prompt": "a cat", "n": 2})
    record = media.record_of(reply)
    assert (record["is_priced"], record["cost_nusd"], record["units"]) == (priced, cost, {"images": 2})


def test_picture_in_the_making_is_streamed_and_billed(media: Gateway, upstream: Upstream) -> None:
    events = [
        dialect.event({"type": "image_generation.partial_image", "b64_json": "aGk="}),
        dialect.event({"type": "image_generation.completed", "b64_json": "aGk=", "usage": FIGURES}),
    ]
    upstream["token-picture"].sends_packets(events)
    body = {"model": "token-picture", "prompt": "a cat", "stream": True, "partial_images": 1}
    reply = media.request("POST", "/images/generations", body)
    assert [event["type"] for event in reply.events] == [
        "image_generation.partial_image", "image_generation.completed",
    ]  # fmt: skip
    assert media.record_of(reply)["cost_nusd"] == 60 * 5_000 + 40 * 10_000 + 200 * 40_000

    upstream["token-picture"].plays(*[Send(piece) for piece in dialect.chunked_stream(events[:1])[:-1]], Close())
    reply = media.request("POST", "/images/generations", body)
    assert reply.events[-1]["type"] == "error"  # never an invented end
    assert media.record_of(reply)["ended"] == "upstream_failed"


def test_what_a_picture_may_cost_is_reserved_before_it_is_asked_for(media: Gateway, upstream: Upstream) -> None:
    upstream["picture"].answers(200, PICTURE)
    upstream["picture"].requests.clear()
    hd = {"model": "picture", "prompt": "a cat", "quality": "hd"}  # 0.08 of a budget of 0.05
    reply = media.request("POST", "/images/generations", hd, key="sk-poor-1")
    assert (reply.status, reply.error["code"]) == (429, "budget_exceeded")
    assert upstream["picture"].hits == 0
    standard = {"model": "picture", "prompt": "a cat"}  # 0.04
    assert media.request("POST", "/images/generations", standard, key="sk-poor-1").status == 200
    reply = media.request("POST", "/images/generations", standard, key="sk-poor-1")
    assert (reply.status, reply.error["code"]) == (429, "budget_exceeded")


# --- speech ---------------------------------------------------------------------------------------------------------


def test_sound_comes_back_as_it_was_made_and_is_billed_by_the_character(media: Gateway, upstream: Upstream) -> None:
    noise = [bytes(range(256)) * 7, b"\n\n\r\r\n", b"data: [DONE]\n\n", b"\x00\xff" * 4000]
    upstream["voice"].plays(*sound(*noise))
    body = {"model": "voice", "voice": "alloy", "input": "Guten Tag", "response_format": "mp3"}
    reply = media.request("POST", "/v1/audio/speech", body)
    assert reply.body == b"".join(noise)
    assert reply.headers["content-type"] == "audio/mpeg"
    assert upstream["voice"].last.json == {**body, "model": "tts-1"}
    record = media.record_of(reply)
    assert (record["endpoint"], record["cost_nusd"], record["units"]) == ("speech", 9 * 15_000, {"characters": 9})


def test_sound_arrives_before_it_is_all_there(media: Gateway, upstream: Upstream) -> None:
    told = threading.Event()
    first, *rest = sound(b"first", b"second")[1:]
    head = sound()[0]
    upstream["voice"].plays(head, first, Until(told), *rest)
    with media.connect() as client:
        body = to_json({"model": "voice", "voice": "alloy", "input": "Hello"})
        client.send(request_bytes("POST", "/v1/audio/speech", key=TEAM_KEY, body=body))
        client.wait_for(b"first")
        told.set()
        client.wait_for(b"second")


def test_sound_that_breaks_off_has_no_end(media: Gateway, upstream: Upstream) -> None:
    """A client must be able to tell half a sound from a whole one."""
    upstream["voice"].plays(*sound(b"half a ", whole=False))
    with media.connect() as client:
        body = to_json({"model": "voice", "voice": "alloy", "input": "Hello"})
        client.send(request_bytes("POST", "/v1/audio/speech", key=TEAM_KEY, body=body,
                                  headers={"x-request-id": "broken-sound"}))  # fmt: skip
        while client.receive():
            pass
        data = client.buffer
    assert b"half a " in data
    assert not data.endswith(b"0\r\n\r\n")
    eventually(lambda: media.records_of("broken-sound"), what="its record")
    (record,) = media.records_of("broken-sound")
    assert (record["ended"], record["error_code"]) == ("upstream_failed", "upstream_error")


def test_next_deployment_speaks_where_the_first_fails_before_its_first_sound(
    media: Gateway, upstream: Upstream
) -> None:
    upstream["voice-first"].answers(503)
    upstream["voice-second"].plays(*sound(b"second"))
    body = {"model": "two-voices", "voice": "alloy", "input": "Hello", "num_retries": 2}
    assert media.request("POST", "/v1/audio/speech", body).body == b"second"


def test_speech_that_is_a_page_is_refused(media: Gateway, upstream: Upstream) -> None:
    upstream["voice"].plays(*sound(b"<script>", kind="text/html"))
    reply = media.request("POST", "/v1/audio/speech", {"model": "voice", "voice": "alloy", "input": "Hello"})
    assert (reply.status, reply.error["code"]) == (502, "upstream_bad_response")


def test_speech_in_events_is_billed_by_the_tokens_that_they_tell(media: Gateway, upstream: Upstream) -> None:
    """gpt-4o-mini-tts: 0.6 USD a million tokens of text, 12 of sound."""
    events = [
        dialect.event({"type": "speech.audio.delta", "audio": "aGk=" * 600}),
        dialect.event({"type": "speech.audio.done",
                       "usage": {"input_tokens": 10, "output_tokens": 100, "total_tokens": 110}}),
    ]  # fmt: skip
    upstream["token-voice"].plays(*sound(*events, kind="text/event-stream"))
    body = {"model": "token-voice", "voice": "alloy", "input": "Hello", "stream_format": "sse"}
    reply = media.request("POST", "/v1/audio/speech", body)
    assert reply.body == b"".join(events)
    record = media.record_of(reply)
    assert record["cost_nusd"] == 10 * 600 + 100 * 12_000
    assert not record["usage_estimated"]


# --- moderation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["judge", None])
def test_moderation_is_free_and_on_record(media: Gateway, upstream: Upstream, model: str | None) -> None:
    verdict = {"id": "modr-1", "model": "omni-moderation-2024", "results": [{"flagged": True, "categories": {}}]}
    name = model or "omni-moderation-latest"
    upstream[name].answers(200, verdict)
    body: dict[str, Any] = {"input": ["I will", "do it"]}
    reply = media.request("POST", "/v1/moderations", {**body, "model": model} if model else body)
    assert reply.json == {**verdict, "model": name}
    record = media.record_of(reply)
    assert (record["is_priced"], record["cost_nusd"], record["units"]) == (True, 0, {"requests": 1})


# --- rankings -------------------------------------------------------------------------------------------------------

ASK = {"query": "what barks", "documents": ["cat", {"text": "dog"}, "cow"], "top_n": 2}


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_cohere_ranks_at_its_own_address_and_bills_by_the_search(media: Gateway, upstream: Upstream, path: str) -> None:
    upstream["cohere-rank"].answers(200, {
        "id": "r-1", "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 3}},
    })  # fmt: skip
    reply = media.request("POST", path, {"model": "cohere-rank", **ASK, "return_documents": True})
    assert reply.json["results"] == [
        {"index": 1, "relevance_score": 0.9, "document": {"text": "dog"}},
        {"index": 0, "relevance_score": 0.1, "document": {"text": "cat"}},
    ]
    assert reply.json["meta"]["billed_units"] == {"search_units": 3}
    sent = upstream["cohere-rank"].last
    assert sent.path == "v2/rerank"
    assert sent.json == {"model": "rerank-v3.5", **ASK}
    record = media.record_of(reply)
    assert (record["cost_nusd"], record["units"]) == (3 * 2_000_000, {"queries": 3})


@pytest.mark.parametrize(
    ("model", "answer", "sent", "cost"),
    [
        ("jina-rank", {"model": "x", "usage": {"total_tokens": 50},
                       "results": [{"index": 1, "relevance_score": 0.9, "document": {"text": "dog"}}]},
         {"top_n": 2}, 50 * 20),
        ("voyage-rank", {"object": "list", "data": [{"index": 1, "relevance_score": 0.9, "document": "dog"}],
                         "usage": {"total_tokens": 50}}, {"top_k": 2}, 50 * 50),
    ],
)  # fmt: skip
def test_other_shapes_of_rankings_come_out_as_one(
    media: Gateway, upstream: Upstream, model: str, answer: dict[str, Any], sent: dict[str, int], cost: int
) -> None:
    upstream[model].answers(200, answer)
    reply = media.request("POST", "/v1/rerank", {"model": model, **ASK})
    assert reply.json["results"] == [{"index": 1, "relevance_score": 0.9, "document": {"text": "dog"}}]
    assert reply.json["usage"]["total_tokens"] == 50
    assert reply.json["model"] == model
    assert upstream[model].last.path == "v1/rerank"
    assert {name: upstream[model].last.json.get(name) for name in sent} == sent
    assert media.record_of(reply)["cost_nusd"] == cost


@pytest.mark.parametrize(
    "results",
    [[{"index": 3, "relevance_score": 1}], [{"index": -1, "relevance_score": 1}], [{"index": 0}], ["x"], None],
)
def test_a_ranking_of_documents_that_were_not_sent_is_no_answer(
    media: Gateway, upstream: Upstream, results: Any
) -> None:
    upstream["jina-rank"].answers(200, {"results": results})
    reply = media.request("POST", "/v1/rerank", {"model": "jina-rank", **ASK})
    assert (reply.status, reply.error["code"]) == (502, "upstream_bad_response")


# --- what all of them keep ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/images/generations", {"model": "picture"}, "prompt"),
        ("/images/generations", {"model": "picture", "prompt": "x", "n": 11}, "n"),
        ("/images/generations", {"model": "picture", "prompt": "x", "size": 3}, "size"),
        ("/images/generations", {"model": "picture", "prompt": "x", "api_base": "http://evil"}, "api_base"),
        ("/audio/speech", {"model": "voice"}, "input"),
        ("/audio/speech", {"model": "voice", "input": 3}, "input"),
        ("/moderations", {"model": "judge"}, "input"),
        ("/moderations", {"model": "judge", "input": [3]}, "input"),
        ("/rerank", {"model": "jina-rank", "documents": ["x"]}, "query"),
        ("/rerank", {"model": "jina-rank", "query": "x", "documents": []}, "documents"),
        ("/rerank", {"model": "jina-rank", "query": "x", "documents": [3]}, "documents[0]"),
        ("/rerank", {"model": "auto", "query": "x", "documents": ["x"]}, "model"),
        ("/audio/speech", {"model": "claude", "input": "x"}, "model"),
    ],
)
def test_what_is_wrong_is_named(media: Gateway, path: str, body: dict[str, Any], param: str) -> None:
    reply = media.request("POST", path, body)
    assert (reply.status, reply.error["param"]) == (400, param)


def test_rights_to_models_hold(media: Gateway, upstream: Upstream) -> None:
    upstream["voice"].plays(*sound(b"hi"))
    key = "sk-voice-only"
    speak = {"voice": "alloy", "input": "x"}
    assert media.request("POST", "/audio/speech", {"model": "voice", **speak}, key=key).status == 200
    reply = media.request("POST", "/images/generations", {"model": "picture", "prompt": "x"}, key=key)
    assert (reply.status, reply.error["code"]) == (403, "model_access_denied")
    assert media.request("POST", "/images/generations", {"model": "picture", "prompt": "x"}, key=None).status == 401


def test_models_of_other_kinds_are_not_among_those_that_auto_chooses_from(media: Gateway) -> None:
    modes = {each["model_group"]: each["mode"] for each in media.request("GET", "/model_group/info").json["data"]}
    assert modes["picture"] == "image_generation"
    assert modes["voice"] == "audio_speech"
    assert modes["ears"] == "audio_transcription"
    assert modes["judge"] == "moderation"
    assert modes["cohere-rank"] == "rerank"


# --- clients that leave ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_streamed", [False, True])
def test_client_that_leaves_before_its_picture_is_made_pays_for_it(
    media: Gateway, upstream: Upstream, is_streamed: bool
) -> None:
    """Its provider makes it all the same; and of a stream the client has the last sketch of it by then."""
    if is_streamed:
        partial = dialect.event({"type": "image_generation.partial_image", "b64_json": "aGk="})
        head = dialect.head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        upstream["picture"].stalls(head + dialect.http_chunk(partial))
    else:
        upstream["picture"].hangs()
    hits, request_id = upstream["picture"].hits, f"left-{is_streamed}"
    body = to_json({"model": "picture", "prompt": "a cat", "stream": is_streamed})
    with media.connect() as client:
        head_fields = {"X-Request-Id": request_id, "Content-Type": "application/json"}
        client.send(request_bytes("POST", "/v1/images/generations", key=TEAM_KEY, headers=head_fields, body=body))
        if is_streamed:
            assert b"200" in client.socket.recv(4096)
        eventually(lambda: upstream["picture"].hits == hits + 1, what="the request")
        client.reset()
    eventually(lambda: media.records_of(request_id), what="a record")
    (record,) = media.records_of(request_id)
    assert (record["ended"], record["cost_nusd"], record["is_priced"]) == ("client_gone", 40_000_000, True)
