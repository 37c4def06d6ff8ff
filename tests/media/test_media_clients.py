"""openai-python, unmodified, at the endpoints beside chat; files and batches by the path to a provider's account."""

from __future__ import annotations

import io
from collections.abc import Iterator

import openai
import pytest

from harness import dialect
from harness.gateway import TEAM_KEY, Gateway
from harness.taker import Taker
from harness.upstream import Send, Upstream


@pytest.fixture
def client(media: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[openai.OpenAI]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with openai.OpenAI(base_url=f"{media.url}/v1", api_key=TEAM_KEY, max_retries=0, timeout=30) as made:
        yield made


def test_sound_and_words(client: openai.OpenAI, upstream: Upstream, taker: Taker) -> None:
    head = dialect.head(200, {"content-type": "audio/mpeg", "transfer-encoding": "chunked"})
    upstream["voice"].plays(Send(head), Send(dialect.http_chunk(b"no")), Send(dialect.http_chunk(b"ise")),
                            Send(dialect.LAST_HTTP_CHUNK))  # fmt: skip
    with client.audio.speech.with_streaming_response.create(model="voice", voice="alloy", input="Hi") as spoken:
        assert b"".join(spoken.iter_bytes()) == b"noise"

    taker["ears"].answers({"text": "Hi", "usage": {"type": "duration", "seconds": 2}})
    sound = ("hi.mp3", io.BytesIO(b"noise" * 1000))
    assert client.audio.transcriptions.create(model="ears", file=sound, language="de").text == "Hi"
    events = [
        dialect.event({"type": "transcript.text.delta", "delta": "Hi"}),
        dialect.event({"type": "transcript.text.done", "text": "Hi"}),
        dialect.DONE,
    ]
    taker["token-ears"].sends(*dialect.chunked_stream(events))
    stream = client.audio.transcriptions.create(model="token-ears", file=("a.wav", b"noise"), stream=True)
    assert [event.type for event in stream] == ["transcript.text.delta", "transcript.text.done"]


def test_pictures_and_verdicts(client: openai.OpenAI, upstream: Upstream, taker: Taker) -> None:
    upstream["picture"].answers(200, {"created": 1, "data": [{"b64_json": "aGk="}]})
    assert client.images.generate(model="picture", prompt="a cat", size="1024x1024").data[0].b64_json == "aGk="
    taker["painter"].answers({"created": 1, "data": [{"b64_json": "aGk="}]})
    edited = client.images.edit(model="painter", prompt="two cats", image=[("a.png", b"\x89PNG"), ("b.png", b"\x89P")])
    assert edited.data[0].b64_json == "aGk="
    upstream["judge"].answers(200, {"id": "modr-1", "model": "x", "results": [{"flagged": False, "categories": {}}]})
    assert client.moderations.create(model="judge", input="hi").results[0].flagged is False
    with pytest.raises(openai.BadRequestError):
        client.images.generate(model="picture", prompt="a cat", n=99)


def test_files_and_batches_of_an_account(media: Gateway, taker: Taker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first deployment of OpenAI's stands for its account; what passes through passes whole."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    account = taker["account"]
    with openai.OpenAI(base_url=f"{media.url}/openai/v1", api_key=TEAM_KEY, max_retries=0, timeout=30) as client:
        about = {"id": "file-1", "object": "file", "bytes": 9, "created_at": 1, "filename": "in.jsonl",
                 "purpose": "batch", "status": "processed"}  # fmt: skip
        account.answers(about)
        made = client.files.create(file=("in.jsonl", b'{"a": 1}\n'), purpose="batch")
        assert made.id == "file-1"
        assert account.last.path == "v1/files"
        assert b'{"a": 1}\n' in account.last.body
        account.answers(b'{"b": 2}\n', headers={"content-type": "application/octet-stream"})
        assert client.files.content("file-1").content == b'{"b": 2}\n'
        account.answers({"id": "batch_1", "object": "batch", "endpoint": "/v1/chat/completions", "status": "validating",
                         "input_file_id": "file-1", "completion_window": "24h", "created_at": 1})  # fmt: skip
        batch = client.batches.create(input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h")
        assert (batch.id, account.last.json["input_file_id"]) == ("batch_1", "file-1")
        account.answers({"object": "list", "data": [], "has_more": False})
        assert list(client.files.list()) == []
        account.answers(dialect.openai_error("No such file"), status=404)
        with pytest.raises(openai.NotFoundError):
            client.files.delete("file-2")
