"""Streams as OpenAI-style servers really send them: any packets, any line ends, usage in either shape."""

from __future__ import annotations

import json
import threading

import pytest

from harness import dialect
from harness.dialect import DONE, chat_chunks, chat_events, chunk, event
from harness.gateway import TEAM_KEY, Gateway
from harness.models import Model
from harness.upstream import Close, Send, Until, Upstream, Wait
from harness.wire import Reply, request_bytes

TEXTS = ["Grüezi ", "mitenand", " 🐕‍🦺 ", 'quote " and \\ slash', "\n"]


def deltas(reply: Reply) -> list[dict]:
    assert reply.status == 200, reply.body
    assert reply.events[-1] == "[DONE]"
    return reply.events[:-1]


def wanted(model: str, **shape) -> list[dict]:
    return [{**value, "model": model} for value in chat_chunks(TEXTS, **shape) if value["choices"]]


def test_same_stream_cut_anywhere_gives_the_same_answer(gateway: Gateway, one: Model) -> None:
    """R29: a character or an event split between packets comes out whole."""
    stream = b"".join(chat_events(TEXTS, tool_arguments=['{"ci', 'ty":"Zü', 'rich"}']))
    expected = wanted(one.name, tool_arguments=['{"ci', 'ty":"Zü', 'rich"}'])
    for place in range(1, len(stream), 7):
        one.first.sends_packets([stream[:place], stream[place:]], gap_s=0.001)
        assert deltas(gateway.chat(model=one.name, stream=True)) == expected, place


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 1000, 100_000])
def test_packets_of_any_size_give_the_same_answer(size: int, gateway: Gateway, one: Model) -> None:
    stream = b"".join(chat_events(TEXTS))
    one.first.sends_packets([stream[at : at + size] for at in range(0, len(stream), size)], gap_s=0)

    assert deltas(gateway.chat(model=one.name, stream=True)) == wanted(one.name)


def test_packets_that_split_the_http_framing_give_the_same_answer(gateway: Gateway, one: Model) -> None:
    raw = b"".join(dialect.chunked_stream(chat_events(TEXTS)))
    for size in (1, 7, 33):
        steps = [step for at in range(0, len(raw), size) for step in (Send(raw[at : at + size]), Wait(0))]
        one.first.plays(*steps)
        assert deltas(gateway.chat(model=one.name, stream=True)) == wanted(one.name)


def crlf(packets: list[bytes]) -> list[bytes]:
    return [packet.replace(b"\n\n", b"\r\n\r\n") for packet in packets]


SPELLINGS = {
    "CRLF": crlf(chat_events(TEXTS)),
    "CRLF, each line end in two packets": [
        part for packet in crlf(chat_events(TEXTS)) for part in (packet[:-3], packet[-3:-2], packet[-2:-1], packet[-1:])
    ],
    "no space after the colon": [packet.replace(b"data: ", b"data:", 1) for packet in chat_events(TEXTS)],
    "spaces in the JSON": [event(value, spaced=True) for value in chat_chunks(TEXTS)] + [DONE],
    "comments between": [part for packet in chat_events(TEXTS) for part in (b": ping\n\n", packet)],
    "comments and fields inside": [b": c\nid: 1\nevent: message\nretry: 5\n" + packet for packet in chat_events(TEXTS)],
    "empty lines between": [part for packet in chat_events(TEXTS) for part in (packet, b"\n\n")],
    "all in one packet": [b"".join(chat_events(TEXTS))],
    "model last": [
        event({**{key: entry for key, entry in value.items() if key != "model"}, "model": "upstream-model"})
        for value in chat_chunks(TEXTS)
    ]
    + [DONE],
}


@pytest.mark.parametrize("packets", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_any_spelling_of_an_event_stream_is_read(packets: list[bytes], gateway: Gateway, one: Model) -> None:
    one.first.sends_packets(packets, gap_s=0.001)

    reply = gateway.chat(model=one.name, stream=True)

    assert deltas(reply) == wanted(one.name)
    record = gateway.record_of(reply)
    assert (record["ended"], record["completion_tokens"]) == ("complete", len(TEXTS))


def test_only_the_chunk_s_own_model_is_replaced(gateway: Gateway, one: Model) -> None:
    """COMPAT 4: the public name stands in every chunk; text that looks like the field is left alone."""
    tricky = ['"model":"upstream-model"', '{"model": "upstream-model"}', '\\"model\\":\\"x\\"']
    nested = {"nested": {"model": "inner-model"}}
    packets = [event({**value, "model": "upstream-model", "extra": nested}) for value in chat_chunks(tricky)]
    first = [event({"extra": nested, **value}) for value in chat_chunks(tricky)]
    for one_way in (packets, first):
        one.first.sends_packets([*one_way, DONE])
        reply = gateway.chat(model=one.name, stream=True)
        assert reply.text == "".join(tricky)
        for value in deltas(reply):
            assert (value["model"], value["extra"]) == (one.name, nested)


@pytest.mark.parametrize("answer", ["null", "absent"])
def test_chunk_without_a_model_passes(answer: str, gateway: Gateway, one: Model) -> None:
    chunks = chat_chunks(["Hello"])
    for value in chunks:
        value.pop("model")
        if answer == "null":
            value["model"] = None
    one.first.sends_packets([*map(event, chunks), DONE])

    assert gateway.chat(model=one.name, stream=True).text == "Hello"


@pytest.mark.parametrize("shape", ["empty_choices", "one_empty_choice"])
@pytest.mark.parametrize("is_asked", [False, True])
def test_usage_is_told_by_openai_s_rule(shape: str, is_asked: bool, gateway: Gateway, one: Model) -> None:
    """include_usage: one more chunk with `choices: []`, from either shape; not asked for: none, yet recorded."""
    one.first.streams("Hel", "lo", usage_shape=shape, used=dialect.usage(11, 22))
    options = {"stream_options": {"include_usage": True}} if is_asked else {}

    reply = gateway.chat(model=one.name, stream=True, **options)

    *chunks, last = deltas(reply)
    assert one.first.last.json["stream_options"]["include_usage"] is True
    if is_asked:
        assert last["choices"] == []
        assert last["usage"] == dialect.usage(11, 22)
        assert last["model"] == one.name
    else:
        chunks.append(last)
    assert all(value["choices"] and value.get("usage") is None for value in chunks)
    assert [value["choices"][0]["finish_reason"] for value in chunks].count("stop") == 1
    record = gateway.record_of(reply)
    assert (record["prompt_tokens"], record["completion_tokens"], record["usage_estimated"]) == (11, 22, False)
    assert record["cost_nusd"] == 11 * 1000 + 22 * 4000


def test_usage_asked_for_and_not_given_is_counted_here(gateway: Gateway, one: Model) -> None:
    one.first.streams("Hello ", "there", usage_shape=None)

    reply = gateway.chat(model=one.name, stream=True, stream_options={"include_usage": True})

    last = deltas(reply)[-1]
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] >= 1
    assert last["usage"]["completion_tokens"] >= 1
    record = gateway.record_of(reply)
    assert record["usage_estimated"] is True
    assert record["completion_tokens"] == last["usage"]["completion_tokens"]


def test_usage_in_every_chunk_counts_once(gateway: Gateway, one: Model) -> None:
    """Some servers send a running total with each chunk; the last one is the bill."""
    chunks = chat_chunks(["a", "b", "c"], usage_shape=None)
    for number, value in enumerate(chunks):
        value["usage"] = dialect.usage(5, number)
    one.first.sends_packets([*map(event, chunks), DONE])

    reply = gateway.chat(model=one.name, stream=True)

    assert reply.text == "abc"
    record = gateway.record_of(reply)
    assert (record["prompt_tokens"], record["completion_tokens"]) == (5, len(chunks) - 1)


def test_several_choices_pass_on(gateway: Gateway, one: Model) -> None:
    chunks = [chunk({"role": "assistant", "content": ""})]
    for index in (0, 1, 0, 1):
        value = chunk({"content": f"c{index}"})
        value["choices"][0]["index"] = index
        chunks.append(value)
    for index in (0, 1):
        value = chunk({}, "stop")
        value["choices"][0]["index"] = index
        chunks.append(value)
    one.first.sends_packets([*map(event, chunks), DONE])

    reply = gateway.chat(model=one.name, stream=True, n=2)

    assert deltas(reply) == [{**value, "model": one.name} for value in chunks]


def test_stream_without_chunked_encoding_is_read(gateway: Gateway, one: Model) -> None:
    head = dialect.head(200, {**dialect.STREAM_HEADERS, "connection": "close"})
    one.first.plays(Send(head + b"".join(chat_events(TEXTS))), Wait(0.02), Close())

    assert deltas(gateway.chat(model=one.name, stream=True)) == wanted(one.name)


def test_first_chunk_reaches_the_client_before_the_second_exists(gateway: Gateway, one: Model) -> None:
    """Chunks are passed on as they come."""
    go_on = threading.Event()
    head, *pieces = dialect.chunked_stream(chat_events(["first", "second"]))
    one.first.plays(Send(head), Send(pieces[0]), Send(pieces[1]), Until(go_on), *map(Send, pieces[2:]))
    body = {"model": one.name, "stream": True, "messages": [{"role": "user", "content": "x"}]}
    with gateway.connect() as client:
        client.send(request_bytes("POST", "/v1/chat/completions", key=TEAM_KEY, body=json.dumps(body).encode()))
        so_far = client.wait_for(b'"first"')
        assert b'"second"' not in so_far
        go_on.set()
        assert client.reply().text == "firstsecond"


def test_large_stream_arrives_whole(gateway: Gateway, one: Model, upstream: Upstream) -> None:
    """Back-pressure: 2 MB through a client with a small window, nothing lost, little held."""
    texts = [f"{number:06} " * 300 for number in range(1200)]
    one.first.sends_packets(chat_events(texts), gap_s=0)

    reply = gateway.chat(model=one.name, stream=True, timeout_s=60)

    assert reply.text == "".join(texts)
