"""More is asked than can be answered: what is too much is refused at once, the rest served, nothing left over.

F33 and F31 of RELIABILITY.md. Seconds by default; ROUTEWRIGHT_LONG=1 makes it a minute each, and prints what came.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from harness import dialect
from harness.gateway import TEAM_KEY, Gateway, base_config, deployment, eventually, running
from harness.rush import Rush
from harness.upstream import Deployment, Send, Until, Upstream, Wait
from harness.wire import NotHttpError, Wire, assert_error, request_bytes

IS_LONG = os.environ.get("ROUTEWRIGHT_LONG") == "1"
SECONDS = 60.0 if IS_LONG else 1.5
ROOM = 20
"""So many calls at once are all that the upstream is sent, or takes."""
TOO_MANY = 5 * ROOM
ANSWER_S = 0.1
CAPACITY = ROOM / ANSWER_S
"""Answers a second."""
CROWD = 160
CHAT = "/v1/chat/completions"


def chat_request(model: str, **fields: Any) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], **fields}
    return request_bytes("POST", CHAT, key=TEAM_KEY, body=json.dumps(body).encode())


def takes_its_time(of: Deployment) -> None:
    of.forget()
    of.plays(Wait(ANSWER_S), Send(dialect.response(200, dialect.to_json(dialect.chat_completion()))))


def resident_mb(gateway: Gateway) -> float:
    return sum(process.memory_info().rss for process in gateway.serving_processes()) / 1e6


@pytest.fixture(scope="module")
def busy(upstream: Upstream) -> Iterator[Gateway]:
    config = base_config(upstream)
    config["model_list"] += [
        deployment("few-connections", upstream, "few-connections"),
        deployment("few-places", upstream, "few-places", max_parallel_requests=ROOM),
    ]
    with running(config, environment={"ROUTEWRIGHT_UPSTREAM_MAX_CONNECTIONS_PER_ORIGIN": str(ROOM)}) as gateway:
        yield gateway


@pytest.mark.parametrize(("model", "status", "code"), [
    ("few-connections", "503", "overloaded"),
    ("few-places", "429", "rate_limit_exceeded"),
])  # fmt: skip
def test_five_times_what_there_is_room_for(
    model: str, status: str, code: str, busy: Gateway, upstream: Upstream
) -> None:
    """F33: refused at once with a word when to come again; the upstream is kept busy and not taken for a failing one;
    and when the rush is over the very next is answered."""
    takes_its_time(upstream[model])
    assert busy.chat(model).status == 200
    before_mb, cooled = resident_mb(busy), busy.output().count("cools down")
    with Rush(busy.port, chat_request(model), clients=TOO_MANY, pause_s=ANSWER_S) as rush:
        time.sleep(SECONDS / 2)
        health = [_timed(lambda: busy.request("GET", "/health", key=None).status == 200) for _ in range(10)]
        time.sleep(SECONDS / 2)
    told = rush.end()
    print(f"\n{model}: {told}; /health ms {[round(each * 1e3, 1) for each in health]}; "
          f"MB {before_mb:.1f} to {resident_mb(busy):.1f}")  # fmt: skip
    assert busy.chat(model).status == 200
    assert (told["failures"], set(told["statuses"])) == ({}, {"200", status})
    head, _, body = told["bodies"][status].partition("\r\n\r\n")
    assert "\r\nretry-after: 1\r\n" in head.lower() + "\r\n"
    assert json.loads(body)["error"]["code"] == code
    assert upstream[model].most_in_use <= ROOM
    assert busy.output().count("cools down") == cooled
    # Once what was asked first was answered, more was; a deployment that is taken for a failing one answers no more.
    assert told["statuses"]["200"] > 4 * ROOM
    if IS_LONG:
        assert told["statuses"]["200"] > 0.8 * CAPACITY * told["seconds"]
        assert told["ms"][status][1] < 100
        assert max(health) < 1
        assert resident_mb(busy) < before_mb + 8


@pytest.mark.skipif(not IS_LONG, reason="takes two minutes of a whole core; ROUTEWRIGHT_LONG=1")
def test_five_times_the_clients_that_keep_it_busy(upstream: Upstream) -> None:
    """F33 of the processor: those who are too many wait for their turn, and it is no longer than it has to be."""
    rates = {}
    with running(base_config(upstream)) as gateway:
        for clients in (CROWD, 5 * CROWD):
            before_mb = resident_mb(gateway)
            with Rush(gateway.port, chat_request("gpt-4o"), clients=clients, pause_s=ANSWER_S) as rush:
                health = []
                until_s = time.monotonic() + SECONDS
                while time.monotonic() < until_s:
                    health.append(_timed(lambda: gateway.request("GET", "/health", key=None).status == 200))
                    time.sleep(0.2)
                    upstream["gpt-4o"].requests.clear()
            told = rush.end()
            rates[clients] = told["statuses"]["200"] / told["seconds"]
            health.sort()
            after_s = _timed(lambda: gateway.chat().status == 200)
            print(f"\n{clients} clients: {rates[clients]:.0f}/s; {told}; /health s p50 {health[len(health) // 2]:.3f} "
                  f"p99 {health[int(len(health) * 0.99)]:.3f} max {health[-1]:.3f}; then {after_s:.3f} s; "
                  f"MB {before_mb:.1f} to {resident_mb(gateway):.1f}")  # fmt: skip
            assert (told["failures"], set(told["statuses"])) == ({}, {"200"})
            assert health[int(len(health) * 0.99)] < 1
    assert rates[5 * CROWD] > 0.8 * rates[CROWD]


def _timed(work: Any) -> float:
    began_s = time.monotonic()
    assert work()
    return time.monotonic() - began_s


def test_place_elsewhere_is_found_for_what_one_upstream_has_no_room_for(upstream: Upstream) -> None:
    """F33: another deployment of the model, and then another model; and nobody counts as asked who was not."""
    with_room = Upstream()
    try:
        config = base_config(upstream, router_settings={"fallbacks": [{"alone": ["beside"]}], "num_retries": 0})
        config["model_list"] += [
            deployment("pair", upstream, "full", order=1),
            deployment("pair", with_room, "roomy", order=2),
            deployment("alone", upstream, "full"),
            deployment("beside", with_room, "roomy"),
        ]
        config["router_settings"]["disable_cooldowns"] = False
        environment = {"ROUTEWRIGHT_UPSTREAM_MAX_CONNECTIONS_PER_ORIGIN": "1"}
        with running(config, environment=environment) as gateway, gateway.connect() as holder:
            upstream["full"].hangs()
            holder.send(chat_request("pair"))
            eventually(lambda: upstream["full"].in_use == 1, what="the only connection to be in use")
            for model in ("pair", "alone"):
                for _ in range(8):
                    reply = gateway.chat(model)
                    assert (reply.status, reply.text) == (200, "Hello from roomy")
            assert gateway.record_of(reply)["attempts"] == 1
            assert upstream["full"].hits == 1
            assert "cools down" not in gateway.output()
    finally:
        upstream["full"].forget()
        with_room.close()


DESCRIPTORS, STREAMS = (1024, 1500) if IS_LONG else (128, 150)


def test_no_descriptor_is_left(upstream: Upstream) -> None:
    """F31: more clients than descriptors. Who gets in is answered, or told to come again; nothing spins, nobody takes
    an upstream for a failing one, every answer is recorded, and afterwards all is as before."""
    talker, go_on = upstream["one-000"], threading.Event()
    pieces = dialect.chunked_stream(dialect.chat_events(["Hel", "lo"]))
    talker.plays(*map(Send, pieces[:3]), Until(go_on), *map(Send, pieces[3:]))
    clients: list[Wire] = []
    environment = {"ROUTEWRIGHT_FRONT_MAX_CONNECTIONS_PER_ADDRESS": "100000"}
    with running(base_config(upstream, ones=1), environment=environment, most_files=DESCRIPTORS) as gateway:
        try:
            (worker,) = gateway.serving_processes()
            for _ in range(STREAMS):
                client = gateway.connect()
                clients.append(client)
                try:
                    client.send(chat_request("one-000", stream=True))
                except ConnectionError:
                    continue  # there was no room for it, and it was told so
            eventually(lambda: worker.num_fds() > DESCRIPTORS // 2, what="its descriptors to be used")
            assert worker.num_fds() < DESCRIPTORS - 8, "none is left for the journal and the store"
            before_s = sum(worker.cpu_times()[:2])
            time.sleep(1)
            assert sum(worker.cpu_times()[:2]) - before_s < 0.5, "it spins"
            go_on.set()
            whole = refused = cut = 0
            for client in clients:
                try:
                    reply = client.reply()
                except (ConnectionError, NotHttpError):
                    cut += 1
                    continue
                if reply.status == 503:
                    refused += 1
                    assert_error(reply, 503, "overloaded")
                else:
                    whole += 1
                    assert (reply.text, reply.events[-1]) == ("Hello", "[DONE]")
            print(f"\n{DESCRIPTORS} descriptors, {STREAMS} streams: {whole} whole, {refused} refused, {cut} not let in")
            assert whole > 16
            assert cut
        finally:
            go_on.set()
            for client in clients:
                client.close()
        talker.forget()
        eventually(lambda: is_well(gateway), what="an answer after the rush")
        assert "cools down" not in gateway.output()
        good = [record for record in gateway.journal() if record["status"] == 200]
        assert len(good) >= whole
        assert {record["ended"] for record in good} == {"complete"}


def is_well(gateway: Gateway) -> bool:
    try:
        return gateway.chat("one-000").status == 200
    except (ConnectionError, NotHttpError):
        return False
