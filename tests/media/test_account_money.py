"""What is asked of a provider's account costs what it costs at our own endpoints, and no budget is passed by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness import dialect
from harness.admin import new_key
from harness.gateway import TEAM_KEY, Gateway, eventually
from harness.taker import Taker
from harness.wire import Reply, request_bytes
from media.test_forms import BOUNDARY, ask, form, part

PICTURES = {"created": 1, "data": [{"b64_json": "eA=="}]}
FIGURES = {"input_tokens": 10, "output_tokens": 1000, "total_tokens": 1010,
           "input_tokens_details": {"text_tokens": 10, "image_tokens": 0}}  # fmt: skip
SOUND = part("file", b"x" * 4000, "a.mp3")


@pytest.fixture(autouse=True)
def account(taker: Taker) -> Iterator[None]:
    taker["account"].forget()
    taker["account"].answers({})
    yield
    taker["account"].may_read.set()


def json_to(path: str, **body: Any) -> tuple[str, Any]:
    return path, body


CASES: dict[str, tuple[tuple[str, Any], Any, dict[str, float], int]] = {
    "picture": (json_to("/images/generations", model="dall-e-3", prompt="x"), PICTURES, {"images": 1}, 40_000_000),
    "picture by tokens": (json_to("/images/generations", model="gpt-image-1", prompt="x"),
                          {**PICTURES, "usage": FIGURES}, {"images": 1}, 10 * 5000 + 1000 * 40_000),
    "long picture": (json_to("/images/generations", model="gpt-image-1", prompt="x"),
                     {"data": [{"b64_json": "A" * 1_500_000}], "usage": FIGURES}, {"images": 1},
                     10 * 5000 + 1000 * 40_000),
    "speech": (json_to("/audio/speech", model="tts-1", input="x" * 100, voice="a"), b"sound", {"characters": 100},
               1_500_000),
    "transcript": (("/audio/transcriptions", form(part("model", b"whisper-1"), SOUND)), {"text": "x", "duration": 2.0},
                   {"seconds": 2}, 200_000),
    "model behind": (("/audio/transcriptions", form(SOUND, part("model", b"whisper-1"))),
                     {"text": "x", "duration": 2.0}, {"seconds": 2}, 200_000),
    "edit": (("/images/edits", form(part("model", b"gpt-image-1"), part("image", b"x", "a.png"))),
             {**PICTURES, "usage": FIGURES}, {"images": 1}, 10 * 5000 + 1000 * 40_000),
}  # fmt: skip


def send(gateway: Gateway, case: tuple[str, Any], key: str = TEAM_KEY) -> Reply:
    path, body = case
    if isinstance(body, bytes):
        return ask(gateway, f"/openai/v1{path}", body, key=key)
    return gateway.request("POST", f"/openai/v1{path}", body, key=key)


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_text_is_priced_by_its_own_units(media: Gateway, taker: Taker, name: str) -> None:
    case, answer, units, cost_nusd = CASES[name]
    taker["account"].answers(answer)
    reply = send(media, case)
    assert reply.status == 200, reply.body
    record = media.record_of(reply)
    assert (record["units"], record["is_priced"]) == (units, True)
    assert record["cost_nusd"] == pytest.approx(cost_nusd, rel=0.01)


@pytest.mark.parametrize(
    ("case", "answer"),
    [
        (json_to("/images/generations", model="dall-e-3", prompt="x"), PICTURES),
        (json_to("/images/generations/", model="dall-e-3", prompt="x"), PICTURES),
        (("/images/edits", form(part("image", b"x", "a.png"), part("model", b"gpt-image-1"), part("quality", b"low"))),
         {**PICTURES, "usage": FIGURES}),
    ],
)  # fmt: skip
def test_budget_holds_before_the_provider_sees_a_byte(
    media: Gateway, taker: Taker, case: tuple[str, Any], answer: Any
) -> None:
    """Five cents are one picture's: a second is refused, while the first is being made too."""
    taker["account"].answers(answer)
    key = new_key(media, max_budget=0.05)
    assert [send(media, case, key).status for _ in range(3)] == [200, 429, 429]
    assert len(taker["account"].requests) == 1


def test_sound_of_unknown_length_is_taken_to_be_as_long_as_any(media: Gateway, taker: Taker) -> None:
    """A chunked form at our own endpoint and at the account: 25 MB of sound would be 65 cents."""
    for path, model in (("/v1/audio/transcriptions", b"ears"), ("/openai/v1/audio/transcriptions", b"whisper-1")):
        body = form(part("model", model), SOUND)
        head = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Transfer-Encoding": "chunked"}
        with media.connect() as client:
            framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            client.send(request_bytes("POST", path, key="sk-five-seconds", headers=head) + framed)
            assert client.reply("POST").status == 429
        assert ask(media, path, body, key="sk-five-seconds").status in (200, 429)


def test_answer_that_is_fetched_later_is_counted_at_its_most(media: Gateway, taker: Taker) -> None:
    """Responses in the background: what they used is told to who asks for them, by a GET that is never counted."""
    taker["account"].answers({"id": "resp_1", "status": "queued", "model": "gpt-4o", "usage": None})
    body = {"model": "gpt-4o", "input": "x", "background": True, "max_output_tokens": 500}
    record = media.record_of(media.request("POST", "/openai/v1/responses", body))
    assert (record["completion_tokens"], record["usage_estimated"], record["is_priced"]) == (500, True, True)


def test_neither_kind_of_body_nor_another_spelling_of_the_path_changes_anything(media: Gateway, taker: Taker) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1_000_000}
    for path in ("chat/completions", "chat/complet%69ons", "Chat/Completions/", "chat/completions;a=b"):
        for kind in ("text/plain", "application/json"):
            headers = {"Content-Type": kind}
            reply = media.request("POST", f"/openai/v1/{path}", body, key="sk-one-picture", headers=headers)
            assert reply.status == 429, (path, reply.body)
    picture = {"model": "dall-e-3", "prompt": "x", "n": 2}
    for path in ("images/generat%69ons", "Images/Generations"):
        assert media.request("POST", f"/openai/v1/{path}", picture, key="sk-one-picture").status == 429
    assert not taker["account"].requests


@pytest.mark.parametrize("path", ["/openai/v1/batches", "/openai/v1/batches/", "/openai/v1/b%61tches"])
def test_batch_that_nobody_would_count_is_not_for_keys_with_budgets(media: Gateway, taker: Taker, path: str) -> None:
    reply = media.request("POST", path, {"input_file_id": "file-1"}, key="sk-one-picture")
    assert (reply.status, "/v1/batches" in reply.error["message"]) == (403, True)
    assert not taker["account"].requests
    assert media.request("GET", path, key="sk-one-picture").status == 200
    assert media.request("POST", path, {"input_file_id": "file-1"}).status == 200


def test_client_that_leaves_pays_for_the_picture_that_is_being_made(media: Gateway, taker: Taker) -> None:
    taker["account"].sends(dialect.head(200, {"content-type": "application/json", "content-length": "100"}))
    body = dialect.to_json({"model": "dall-e-3", "prompt": "x"})
    with media.connect() as client:
        head = {"X-Request-Id": "left-a-picture", "Content-Type": "application/json"}
        client.send(request_bytes("POST", "/openai/v1/images/generations", key=TEAM_KEY, headers=head, body=body))
        eventually(lambda: taker["account"].requests and taker["account"].last.is_whole, what="the request")
        client.reset()
    eventually(lambda: media.records_of("left-a-picture"), what="a record")
    (record,) = media.records_of("left-a-picture")
    assert (record["cost_nusd"], record["is_priced"]) == (40_000_000, True)


def test_budget_for_one_model_is_not_passed_by_the_account(media: Gateway, taker: Taker) -> None:
    key = new_key(media, model_max_budget={"account": {"budget_limit": 0.01, "time_period": "30d"}})
    said = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 10}
    for body in ({"model": "gpt-4o", **said}, {"model": "gpt-4o-2024-08-06", **said}, said):
        reply = media.request("POST", "/openai/v1/chat/completions", body, key=key)
        assert (reply.status, reply.error["code"]) == (403, "permission_denied"), reply.body
    assert not taker["account"].requests
    assert media.request("POST", "/openai/v1/chat/completions", {"model": "o9", **said}, key=key).status == 200
    picture = {"model": "dall-e-3", "prompt": "x"}
    assert media.request("POST", "/openai/v1/images/generations", picture, key=key).status == 200
    assert media.request("GET", "/openai/v1/models", key=key).status == 200
