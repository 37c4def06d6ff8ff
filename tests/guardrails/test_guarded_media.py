"""Guardrails on what is no chat: forms, transcripts, what passes through, and the other JSON endpoints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from harness import dialect
from harness.gateway import TEAM_KEY, Gateway, base_config, deployment, running
from harness.taker import Taker
from harness.upstream import Upstream
from harness.wire import Reply, assert_error, request_bytes, secret

MAIL, CARD, SECRET = "ann@example.com", "4111 1111 1111 1111", "AKIAIOSFODNN7EXAMPLE"
GUARDED, WATCHED, OPEN = secret("guarded-media"), secret("watched-media"), TEAM_KEY
BOUNDARY = "guarded-boundary-7"
TRANSCRIBE, EDIT = "/v1/audio/transcriptions", "/v1/images/edits"
SOUND = bytes(range(256)) * 300


@pytest.fixture(scope="module")
def guarded(upstream: Upstream, taker: Taker) -> Iterator[Gateway]:
    config = base_config(upstream, router_settings={"num_retries": 0, "disable_cooldowns": True})
    config["model_list"] = [
        deployment("gpt-4o", upstream, "account", model="gpt-4o", api_base=taker["account"].api_base),
        deployment("ears", upstream, "ears", model="whisper-1", api_base=taker["ears"].api_base),
        deployment("painter", upstream, "painter", model="gpt-image-1", api_base=taker["painter"].api_base),
        deployment("claude", upstream, "claude", model="claude-sonnet-4-5", provider="anthropic",
                   api_base=taker["claude"].api_base),
        *[deployment(name, upstream, name, model=model)
          for name, model in (("picture", "dall-e-3"), ("voice", "tts-1"), ("judge", "omni-moderation-latest"),
                              ("embed", "text-embedding-3-small"))],
        deployment("ranks", upstream, "ranks", model="rerank-v3.5", provider="cohere"),
    ]  # fmt: skip
    config["routes"] = []
    del config["routes"]
    find = taker["find"].api_base
    config["general_settings"]["pass_through_endpoints"] = [
        {"path": "/opaque", "target": find, "include_subpath": True},
        {"path": "/told", "target": find,
         "guardrails": {"mask": {"request_fields": ["what", "more.items[*].say"], "response_fields": ["hits[*]"]}}},
        {"path": "/blocked", "target": find, "guardrails": ["no-secrets"]},
    ]  # fmt: skip
    config["guardrails"] = [
        {"guardrail_name": "mask", "litellm_params": {"guardrail": "pii", "mode": ["pre_call", "post_call"]}},
        {"guardrail_name": "no-secrets", "litellm_params": {"guardrail": "secrets", "mode": "pre_call"}},
        {"guardrail_name": "no-cards",
         "litellm_params": {"guardrail": "pii", "mode": "post_call", "entities": {"card": "BLOCK"}}},
    ]  # fmt: skip
    config["keys"] += [
        {"key": GUARDED, "alias": "guarded", "guardrails": ["mask", "no-secrets"]},
        {"key": WATCHED, "alias": "watched", "guardrails": ["no-cards"]},
    ]
    with running(config) as started:
        yield started


@pytest.fixture(autouse=True)
def good(taker: Taker) -> None:
    for name in ("ears", "painter", "account", "claude", "find"):
        taker[name].forget()
        taker[name].answers({"ok": True})
    taker["ears"].answers({"text": "Grüezi", "usage": {"type": "duration", "seconds": 3}})


def part(name: str, value: str | bytes, file_name: str | None = None) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    if file_name is not None:
        head += f'; filename="{file_name}"\r\nContent-Type: audio/mpeg'
    return head.encode() + b"\r\n\r\n" + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"


def send(gateway: Gateway, path: str, *parts: bytes, key: str = GUARDED) -> Reply:
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    with gateway.connect() as client:
        client.send(request_bytes("POST", path, key=key, body=body, headers=headers))
        return client.reply("POST")


def parts_of(body: bytes) -> dict[str, bytes]:
    boundary = body.partition(b"\r\n")[0]
    found = {}
    for piece in body.split(boundary)[1:-1]:
        head, _, value = piece[2:].partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        assert name is not None
        found[name[1].decode()] = value.removesuffix(b"\r\n")
    return found


# --- forms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt_comes", ["before", "after"])
@pytest.mark.parametrize(("path", "model"), [(TRANSCRIBE, "ears"), (EDIT, "painter")])
def test_words_of_a_form_are_masked_wherever_they_stand_and_its_file_is_untouched(
    guarded: Gateway, taker: Taker, path: str, model: str, prompt_comes: str
) -> None:
    name = "file" if model == "ears" else "image"
    file, prompt = part(name, SOUND, "a.mp3"), part("prompt", f"from {MAIL}")
    parts = [
        part("model", model),
        part("size", "1024x1024"),
        *((prompt, file) if prompt_comes == "before" else (file, prompt)),
    ]
    reply = send(guarded, path, *parts)
    assert reply.status == 200, reply.body
    sent = parts_of(taker[model].last.body)
    assert sent["prompt"] == b"from <EMAIL>"
    assert sent[name] == SOUND
    assert sent["size"] == b"1024x1024"
    record = guarded.record_of(reply)
    assert record["notes"]["found"] == {"email": 1}
    assert record["notes"]["guardrails"] == ["mask", "no-secrets"]


def test_form_with_a_secret_goes_nowhere_and_is_on_record(guarded: Gateway, taker: Taker) -> None:
    reply = send(guarded, TRANSCRIBE, part("model", "ears"), part("file", SOUND, "a"), part("prompt", f"use {SECRET}"))
    assert_error(reply, 400, "guardrail_blocked")
    assert not taker["ears"].requests
    assert guarded.record_of(reply)["notes"]["blocked_by"] == "no-secrets"
    assert send(guarded, TRANSCRIBE, part("model", "ears"), part("file", SOUND, "a"), part("prompt", "x"),
                key=OPEN).status == 200  # fmt: skip


def test_form_may_name_guardrails_itself_before_its_file(guarded: Gateway, taker: Taker) -> None:
    named, file, prompt = part("guardrails", "no-secrets"), part("file", SOUND, "a"), part("prompt", f"use {SECRET}")
    model = part("model", "ears")
    assert_error(send(guarded, TRANSCRIBE, model, named, file, prompt, key=OPEN), 400, "guardrail_blocked")
    assert_error(send(guarded, TRANSCRIBE, model, file, prompt, named, key=OPEN), 400, "invalid_value")
    unknown = part("guardrails[]", "what")
    assert send(guarded, TRANSCRIBE, model, unknown, file, key=OPEN).status == 400
    reply = send(
        guarded, TRANSCRIBE, model, part("guardrails", "mask,no-secrets"), file, part("prompt", MAIL), key=OPEN
    )
    assert reply.headers["x-litellm-applied-guardrails"] == "mask,no-secrets"
    assert parts_of(taker["ears"].last.body)["prompt"] == b"<EMAIL>"


SRT = f"1\n00:00:00,000 --> 00:00:02,000\nwrite to {MAIL}\n\n2\n00:00:02,000 --> 00:00:04,000\nsoon\n"
EVENTS = b"".join(
    b"data: %b\n\n" % dialect.to_json(event)
    for event in (
        {"type": "transcript.text.delta", "delta": "ann@exam"},
        {"type": "transcript.text.delta", "delta": "ple.com"},
        {"type": "transcript.text.done", "text": MAIL, "usage": {"type": "duration", "seconds": 2}},
    )
)
STREAM = b"".join(dialect.chat_events(["ann@exam", "ple.com"]))
USER = {"role": "user", "content": [{"type": "text", "text": MAIL}]}
SPOKEN = {"text": f"I am {MAIL}", "segments": [{"text": f"I am {MAIL}"}], "words": [{"word": MAIL}], "duration": 2}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (dialect.to_json(SPOKEN), "application/json"),
        (f"I am {MAIL}\n".encode(), "text/plain"),
        (SRT.encode(), "application/x-subrip"),
        (SRT.encode(), "text/plain; charset=utf-8"),
        (b"WEBVTT\n\n00:00.000 --> 00:02.000\nI am " + MAIL.encode() + b"\n", "text/vtt"),
        (EVENTS, "text/event-stream"),
    ],
    ids=["json", "text", "srt", "srt-as-text", "vtt", "events"],
)
def test_transcript_is_masked_in_every_form(guarded: Gateway, taker: Taker, answer: bytes, kind: str) -> None:
    taker["ears"].answers(answer, headers={"content-type": kind})
    reply = send(guarded, TRANSCRIBE, part("model", "ears"), part("file", SOUND, "a"))
    assert reply.status == 200
    assert reply.headers["content-type"] == kind
    text = reply.body.decode()
    assert "<EMAIL>" in text
    assert "ann" not in text
    assert "-->" not in answer.decode() or "-->" in text
    assert guarded.record_of(reply)["units"]["seconds"] > 0


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (dialect.to_json({"text": f"pay {CARD} now"}), "application/json"),
        (b"1\n00:00:00,000 --> 00:00:02,000\npay 4111 1111\n\n2\n00:00:02,000 --> 00:00:04,000\n1111 1111 now\n",
         "application/x-subrip"),
    ],
    ids=["json", "across-subtitles"],
)  # fmt: skip
def test_transcript_that_must_not_pass_is_told_as_an_error_and_paid_for(
    guarded: Gateway, taker: Taker, answer: bytes, kind: str
) -> None:
    taker["ears"].answers(answer, headers={"content-type": kind})
    reply = send(guarded, TRANSCRIBE, part("model", "ears"), part("file", SOUND, "a"), key=WATCHED)
    assert_error(reply, 400, "guardrail_blocked")
    assert b"1111" not in reply.body
    record = guarded.record_of(reply)
    assert record["notes"]["blocked_by"] == "no-cards"
    assert record["units"]["seconds"] > 0


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"text": 5}', b"\xff\xfe"])
def test_transcript_that_can_not_be_read_does_not_pass_unseen(guarded: Gateway, taker: Taker, body: bytes) -> None:
    taker["ears"].answers(body, headers={"content-type": "text/vtt" if body[0] == 0xFF else "application/json"})
    reply = send(guarded, TRANSCRIBE, part("model", "ears"), part("file", SOUND, "a"))
    assert_error(reply, 503, "guardrail_unavailable")


# --- what passes through ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "door", "body"),
    [
        (
            "/openai/v1/chat/completions",
            "account",
            {"model": "x", "messages": [{"role": "user", "content": f"to {MAIL}"}]},
        ),
        ("/openai/v1/responses", "account", {"model": "x", "input": f"to {MAIL}"}),
        (
            "/anthropic/v1/messages",
            "claude",
            {"messages": [USER]},
        ),
        ("/openai/v1/embeddings", "account", {"input": [f"to {MAIL}"]}),
        ("/openai/v1/predictions", "account", {"input": {"prompt": [f"to {MAIL}"]}}),
        ("/openai/v1/chat/completions", "account", {"messages": f"to {MAIL}"}),
        ("/openai/v1/models/m:embed", "account", {"contents": [f"to {MAIL}"]}),
    ],
)
def test_body_in_a_known_dialect_is_masked_on_its_way(
    guarded: Gateway, taker: Taker, path: str, door: str, body: dict[str, Any]
) -> None:
    reply = guarded.request("POST", path, body, key=GUARDED)
    assert reply.json == {"ok": True}
    sent = taker[door].last
    assert MAIL not in sent.body.decode()
    assert "<EMAIL>" in sent.body.decode()
    assert int(sent.headers["content-length"]) == len(sent.body)
    assert guarded.record_of(reply)["notes"]["found"] == {"email": 1}
    blocked = json.loads(json.dumps(body).replace(MAIL, SECRET))
    refused = guarded.request("POST", path, blocked, key=GUARDED)
    assert refused.status == 400
    assert "no-secrets" in refused.json["error"]["message"]
    assert len(taker[door].requests) == 1


def test_body_that_nobody_can_read_is_refused_by_name(guarded: Gateway, taker: Taker) -> None:
    for path, body, kind in (
        ("/opaque/x", b'{"what": "x"}', "application/json"),
        ("/opaque", b"\x00raw", "application/octet-stream"),
        ("/openai/v1/files", b"--b\r\n", "multipart/form-data; boundary=b"),
        ("/openai/v1/embeddings", b'{"input": [1, 2]}', "application/json"),
    ):
        reply = guarded.request("POST", path, body, key=GUARDED, headers={"Content-Type": kind})
        assert_error(reply, 403, "permission_denied")
        assert "request_fields" in reply.json["error"]["message"]
    assert guarded.request("GET", "/opaque/x", key=GUARDED).status == 200
    assert guarded.request("POST", "/opaque/x", b"", key=GUARDED).status == 200
    assert guarded.request("DELETE", "/openai/v1/files/x", key=GUARDED).status == 200
    assert guarded.request("POST", "/opaque", b"\x00raw", key=OPEN, headers={"Content-Type": "a/b"}).status == 200
    assert_error(guarded.request("POST", "/opaque", b"{", key=GUARDED), 400, "invalid_value")


def test_configured_paths_say_where_texts_stand(guarded: Gateway, taker: Taker) -> None:
    taker["find"].answers({"hits": [f"ask {MAIL}", {"deep": MAIL}], "from": MAIL})
    body = {"what": f"who is {MAIL}", "id": MAIL, "more": {"items": [{"say": MAIL, "id": MAIL}, {"say": "x"}]}}
    reply = guarded.request("POST", "/told", body, key=OPEN)
    assert taker["find"].last.json == {
        "what": "who is <EMAIL>", "id": MAIL, "more": {"items": [{"say": "<EMAIL>", "id": MAIL}, {"say": "x"}]},
    }  # fmt: skip
    assert reply.json == {"hits": ["ask <EMAIL>", {"deep": "<EMAIL>"}], "from": MAIL}


@pytest.mark.parametrize(
    ("path", "door", "answer", "kind"),
    [
        (
            "/openai/v1/chat/completions",
            "account",
            dialect.to_json(dialect.chat_completion(f"to {MAIL}")),
            "application/json",
        ),
        (
            "/openai/v1/chat/completions",
            "account",
            b"".join(dialect.chat_events(["ann@exam", "ple.com"])),
            "text/event-stream",
        ),
        ("/openai/v1/what", "account", dialect.to_json({"a": [{"b": MAIL}]}), "application/json"),
        ("/openai/v1/what", "account", dialect.to_json({"output": [MAIL], "choices": 5}), "application/json"),
        ("/openai/v1/chat/completions", "account", dialect.to_json({"output": MAIL, "choices": 5}), "application/json"),
        ("/openai/v1/what", "account", MAIL.encode(), "text/plain"),
    ],
    ids=["whole", "stream", "unknown-json", "odd-json", "odd-chat", "text"],
)
def test_answer_that_passes_through_is_looked_over_too(
    guarded: Gateway, taker: Taker, path: str, door: str, answer: bytes, kind: str
) -> None:
    taker[door].answers(answer, headers={"content-type": kind})
    reply = guarded.request("POST", path, {"messages": [{"role": "user", "content": "x"}]}, key=GUARDED)
    assert reply.status == 200
    assert "<EMAIL>" in reply.body.decode()
    assert "ann" not in reply.body.decode()


def test_stream_in_no_known_dialect_does_not_pass_unseen(guarded: Gateway, taker: Taker) -> None:
    taker["account"].answers(b"data: {}\n\n", headers={"content-type": "text/event-stream"})
    reply = guarded.request("POST", "/openai/v1/what", {"prompt": "x"}, key=GUARDED)
    assert_error(reply, 503, "guardrail_unavailable")
    taker["account"].answers({"error": {"message": "no"}}, status=404)
    assert guarded.request("POST", "/openai/v1/what", {"prompt": "x"}, key=GUARDED).status == 404


def test_guardrails_of_a_path_look_at_everybodys_requests(guarded: Gateway, taker: Taker) -> None:
    assert_error(guarded.request("POST", "/blocked", {"query": SECRET}, key=OPEN), 400, "guardrail_blocked")
    assert not taker["find"].requests
    assert guarded.request("POST", "/blocked", {"query": "dogs"}, key=OPEN).status == 200


# --- the other JSON endpoints -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "model"),
    [
        ("/v1/images/generations", {"model": "picture", "prompt": f"draw {MAIL}"}, "picture"),
        ("/v1/audio/speech", {"model": "voice", "input": f"say {MAIL}", "voice": "alloy"}, "voice"),
        ("/v1/moderations", {"model": "judge", "input": [f"judge {MAIL}"]}, "judge"),
        ("/v1/moderations", {"model": "judge", "input": [{"type": "text", "text": MAIL}]}, "judge"),
        ("/v1/embeddings", {"model": "embed", "input": ["x", f"embed {MAIL}"]}, "embed"),
        ("/v1/rerank", {"model": "ranks", "query": f"of {MAIL}", "documents": ["x", f"by {MAIL}"]}, "ranks"),
        ("/v1/rerank", {"model": "ranks", "query": "x", "documents": [{"text": f"by {MAIL}"}]}, "ranks"),
    ],
    ids=["images", "speech", "moderations", "moderation-parts", "embeddings", "rerank", "rerank-objects"],
)  # fmt: skip
def test_words_of_every_endpoint_are_masked_before_they_go(
    guarded: Gateway, upstream: Upstream, path: str, body: dict[str, Any], model: str
) -> None:
    upstream[model].forget()
    reply = guarded.request("POST", path, body, key=GUARDED)
    assert upstream[model].hits == 1, reply.body
    sent = upstream[model].last.body.decode()
    assert MAIL not in sent
    assert "<EMAIL>" in sent
    blocked = json.loads(json.dumps(body).replace(MAIL, SECRET))
    assert_error(guarded.request("POST", path, blocked, key=GUARDED), 400, "guardrail_blocked")
    assert upstream[model].hits == 1


@pytest.mark.parametrize("given", [[1, 2, 3], [[1, 2], [3]]])
def test_tokens_that_nobody_can_read_are_refused(guarded: Gateway, upstream: Upstream, given: Any) -> None:
    for path, name in (("/v1/embeddings", "input"), ("/v1/completions", "prompt")):
        body = {"model": "embed" if name == "input" else "gpt-4o", name: given}
        reply = guarded.request("POST", path, body, key=GUARDED)
        assert_error(reply, 400, "invalid_value")
        assert reply.json["error"]["param"] == name
    assert guarded.request("POST", "/v1/embeddings", {"model": "embed", "input": given}, key=OPEN).status == 200


def test_guardrails_that_are_always_on_look_at_forms_and_accounts_too(upstream: Upstream, taker: Taker) -> None:
    config = base_config(upstream)
    config["model_list"] = [
        deployment("gpt-4o", upstream, "account", model="gpt-4o", api_base=taker["account"].api_base),
        deployment("ears", upstream, "ears", model="whisper-1", api_base=taker["ears"].api_base),
    ]
    del config["routes"]
    config["general_settings"]["pass_through_endpoints"] = [{"path": "/opaque", "target": taker["find"].api_base}]
    config["guardrails"] = [
        {"guardrail_name": "mask", "litellm_params": {"guardrail": "pii", "mode": "pre_call", "default_on": True}}
    ]
    with running(config) as gateway:
        send(gateway, TRANSCRIBE, part("model", "ears"), part("file", SOUND, "a"), part("prompt", MAIL), key=OPEN)
        assert parts_of(taker["ears"].last.body)["prompt"] == b"<EMAIL>"
        gateway.request("POST", "/openai/v1/responses", {"input": MAIL}, key=OPEN)
        assert taker["account"].last.json == {"input": "<EMAIL>"}
        assert gateway.request("POST", "/opaque", {"what": MAIL}, key=OPEN).status == 200
        assert taker["find"].last.json == {"what": MAIL}
