"""Equal requests under way ask a provider once; a leader that fails or leaves loses nobody."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from harness import dialect
from harness.gateway import TEAM_KEY, Gateway, base_config, eventually, running
from harness.upstream import Close, Request, Send, Until, Upstream
from harness.wire import Reply, request_bytes, secret

OTHER_KEY = secret("other-flier")


@pytest.fixture(scope="module")
def shared(upstream: Upstream) -> Iterator[Gateway]:
    config = base_config(
        upstream,
        litellm_settings={"cache": True, "cache_params": {"single_flight": True}},
        router_settings={"num_retries": 0, "disable_cooldowns": True},
    )
    config["keys"].append({"key": OTHER_KEY, "alias": "other"})
    with running(config) as started:
        yield started


class Gate:
    """The upstream's answers wait for `open`; those in `plays` come first, in place of good ones."""

    def __init__(self, upstream: Upstream) -> None:
        self.slot = upstream["gpt-4o"]
        self.slot.forget()
        self.opened = threading.Event()
        self.plays: list[list[Any]] = []
        self.slot.runs(self._answer)

    def _answer(self, request: Request) -> list[Any]:
        if self.plays:
            return [Until(self.opened), *self.plays.pop(0)]
        if request.json.get("stream"):
            data = b"".join(dialect.chunked_stream(dialect.chat_events(["Hel", "lo"])))
        else:
            data = dialect.response(200, dialect.to_json(dialect.chat_completion("Hello")))
        return [Until(self.opened), Send(data)]


@pytest.fixture
def gate(upstream: Upstream) -> Iterator[Gate]:
    gate = Gate(upstream)
    yield gate
    gate.opened.set()
    gate.slot.forget()


@pytest.fixture
def crowd() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def is_hit(reply: Reply) -> bool:
    return reply.headers.get("x-litellm-cache-hit") == "true"


def wait_for(gateway: Gateway, count: int) -> None:
    """So many requests have come to the gateway and are not answered; the one that asks is another."""

    def are_there() -> bool:
        text = gateway.request("GET", "/metrics", key=None).body.decode()
        (line,) = [line for line in text.splitlines() if line.startswith("litellm_in_flight_requests ")]
        return float(line.split()[1]) == count + 1

    eventually(are_there)


def asked(crowd: ThreadPoolExecutor, gateway: Gateway, prompt: str, *forms: dict[str, Any]) -> list[Future[Reply]]:
    """One request of each form, the first under way before the others come."""
    futures = []
    for count, form in enumerate(forms, 1):
        futures.append(crowd.submit(gateway.chat, "gpt-4o", prompt, **form))
        if count in (1, len(forms)):
            wait_for(gateway, count)
    return futures


WHOLE: dict[str, Any] = {}
STREAM = {"stream": True}
BROKEN = [Send(dialect.response(200, b'{"id": ')), Close()]
FAILURE = [Send(dialect.response(500, b"{}"))]


def test_equal_requests_under_way_are_one_call_and_each_has_its_record(
    shared: Gateway, gate: Gate, crowd: ThreadPoolExecutor
) -> None:
    futures = asked(crowd, shared, "one call", WHOLE, STREAM, WHOLE, STREAM, WHOLE)
    gate.opened.set()
    replies = [future.result() for future in futures]
    assert [reply.text for reply in replies] == ["Hello"] * 5
    assert [is_hit(reply) for reply in replies] == [False, True, True, True, True]
    assert gate.slot.hits == 1
    records = [shared.record_of(reply) for reply in replies]
    assert len({record["call_id"] for record in records}) == 5
    assert [record["notes"].get("cache_hit", False) for record in records] == [False, True, True, True, True]
    assert [record["cost_nusd"] > 0 for record in records] == [True, False, False, False, False]
    assert all(record["notes"]["saved_nusd"] == records[0]["cost_nusd"] for record in records[1:])


def test_nobody_waits_for_another_tenants_call_or_another_question(
    shared: Gateway, gate: Gate, crowd: ThreadPoolExecutor
) -> None:
    forms = [WHOLE, {"key": OTHER_KEY}, {"temperature": 0.5}, {"cache": {"no-cache": True}}, {"timeout": 9},
             {"cache": {"no-store": True}}, {"cache": {"namespace": "n"}}]  # fmt: skip
    futures = asked(crowd, shared, "apart", *forms)
    eventually(lambda: gate.slot.hits == len(forms))
    gate.opened.set()
    assert not any(is_hit(future.result()) for future in futures)


@pytest.mark.parametrize("failing", [FAILURE, BROKEN], ids=["500", "cut"])
def test_follower_takes_over_from_a_leader_that_fails(
    shared: Gateway, gate: Gate, crowd: ThreadPoolExecutor, failing: list[Any]
) -> None:
    gate.plays = [failing]
    futures = asked(
        crowd, shared, f"take over {len(failing)}", STREAM if failing is BROKEN else WHOLE, WHOLE, WHOLE, STREAM
    )
    gate.opened.set()
    replies = [future.result() for future in futures]
    assert replies[0].status >= 500 or not replies[0].text
    assert [reply.text for reply in replies[1:]] == ["Hello"] * 3
    assert sorted(is_hit(reply) for reply in replies[1:]) == [False, True, True]
    assert gate.slot.hits == 2


def test_all_go_their_own_ways_when_the_second_fails_too(
    shared: Gateway, gate: Gate, crowd: ThreadPoolExecutor
) -> None:
    gate.plays = [FAILURE, FAILURE]
    futures = asked(crowd, shared, "own ways", *[WHOLE] * 5)
    gate.opened.set()
    replies = [future.result() for future in futures]
    assert sorted(reply.status for reply in replies) == [200, 200, 200, 502, 502]
    assert gate.slot.hits == 5


def test_leader_whose_client_leaves_loses_nobody(shared: Gateway, gate: Gate, crowd: ThreadPoolExecutor) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "left alone"}]}
    with shared.connect() as leaving:
        leaving.send(request_bytes("POST", "/v1/chat/completions", key=TEAM_KEY, body=json.dumps(body).encode()))
        wait_for(shared, 1)
        futures = [crowd.submit(shared.chat, "gpt-4o", "left alone") for _ in range(3)]
        wait_for(shared, 4)
    eventually(lambda: gate.slot.hits == 2, what="another leads")
    gate.opened.set()
    replies = [future.result() for future in futures]
    assert [reply.text for reply in replies] == ["Hello"] * 3
    assert sorted(is_hit(reply) for reply in replies) == [False, True, True]


def test_follower_whose_client_leaves_holds_up_nobody_and_is_on_record(
    shared: Gateway, gate: Gate, crowd: ThreadPoolExecutor
) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "leaves"}]}
    futures = asked(crowd, shared, "leaves", WHOLE)
    with shared.connect() as leaving:
        leaving.send(request_bytes("POST", "/v1/chat/completions", key=TEAM_KEY, body=json.dumps(body).encode(),
                                   headers={"x-request-id": "left-waiting"}))  # fmt: skip
        wait_for(shared, 2)
    (record,) = eventually(lambda: shared.records_of("left-waiting"))
    assert (record["ended"], record["attempts"], record["cost_nusd"]) == ("client_gone", 0, 0)
    gate.opened.set()
    assert futures[0].result().text == "Hello"
    assert gate.slot.hits == 1


def test_answer_of_a_leader_that_can_not_be_kept_is_given_to_nobody_else(
    shared: Gateway, gate: Gate, crowd: ThreadPoolExecutor
) -> None:
    long = [Send(dialect.response(200, dialect.to_json(dialect.chat_completion("x" * 2_000_000))))]
    gate.plays = [long, long, long]
    futures = asked(crowd, shared, "too long", *[WHOLE] * 3)
    gate.opened.set()
    assert [len(future.result().text) for future in futures] == [2_000_000] * 3
    assert gate.slot.hits == 3


def test_nobody_waits_for_the_end_of_an_answer_that_is_too_long_already(
    shared: Gateway, gate: Gate, crowd: ThreadPoolExecutor
) -> None:
    may_end = threading.Event()
    begin, *middle, done, end = dialect.chunked_stream(dialect.chat_events(["x" * 600_000, "y" * 600_000, "z"]))
    gate.plays = [[Send(begin + b"".join(middle)), Until(may_end), Send(done + end)]]
    futures = asked(crowd, shared, "too long to wait", STREAM, WHOLE)
    gate.opened.set()
    assert futures[1].result().text == "Hello"
    assert not futures[0].done()
    may_end.set()
    assert len(futures[0].result().text) == 1_200_001
    assert gate.slot.hits == 2
