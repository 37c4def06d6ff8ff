"""A replica hands over to its successor while it shares limits: to the others both are one machine, as before."""

from __future__ import annotations

import threading
from typing import Any

import psutil

from harness.dialect import chat_events, chunked_stream
from harness.gateway import Gateway, eventually, running
from harness.upstream import Send, Until, Upstream
from harness.valkey import ValkeyServer
from harness.wire import request_bytes, secret
from leasing.conftest import PATIENT, body_of, many, passed
from money.answers import uses_all
from money.conftest import ANSWER_USD, MAX_TOKENS, priced_config, wait_for_the_ledger

MINUTE, PLACE, FIVE = secret("handed-minute"), secret("handed-place"), secret("handed-five")
PAID = {"model": "paid", "max_tokens": MAX_TOKENS}
NAMESPACE = "handover"


def replicas(server: ValkeyServer) -> set[bytes]:
    return set(server.ask("ZRANGE", f"{NAMESPACE}:replicas", 0, -1))


def test_limits_places_and_money_go_on_as_one(upstream: Upstream, valkey_server: ValkeyServer) -> None:
    """R23: what the old process still streams holds its place, what was used stays used, nothing counts twice."""
    config: dict[str, Any] = priced_config(upstream, ones=1, router_settings={"redis_url": valkey_server.url})
    config["litellm_settings"] = {"cache_params": {"type": "redis", "namespace": NAMESPACE}}
    config["keys"] += [
        {"key": MINUTE, "alias": "minute", "rpm_limit": 50},
        {"key": PLACE, "alias": "place", "max_parallel_requests": 1},
        {"key": FIVE, "alias": "five", "max_budget": 5 * ANSWER_USD},
    ]
    uses_all(upstream["paid"], gap_s=0)
    talker, go_on = upstream["one-000"], threading.Event()
    talker.forget()
    pieces = chunked_stream(chat_events(["Hel", "lo"]))
    talker.plays(*map(Send, pieces[:3]), Until(go_on), *map(Send, pieces[3:]))

    def place(gateway: Gateway) -> int:
        return gateway.chat("paid", key=PLACE, max_tokens=1).status

    with (
        running(config, workers=2, environment=PATIENT) as one,
        running(config, environment=PATIENT) as other,
    ):
        for gateway in (one, other):
            wait_for_the_ledger(gateway)
        pair = [one, other]
        eventually(lambda: len(replicas(valkey_server)) == 2, what="both replicas at the Valkey")
        names = replicas(valkey_server)
        assert passed(many(pair, MINUTE, 20, **PAID)) == 20
        assert passed(many(pair, FIVE, 2, **PAID)) == 2
        try:
            with one.connect() as client:
                body = body_of("one-000", stream=True)
                client.send(request_bytes("POST", "/v1/chat/completions", key=PLACE, body=body))
                client.wait_for(b'"Hel"')
                old = one.hand_over()
                assert (place(one), place(other)) == (429, 429)
                assert passed(many(pair, MINUTE, 20, **PAID)) == 20
                go_on.set()
                assert client.reply().text == "Hello"
            eventually(lambda: old.status() == psutil.STATUS_ZOMBIE, what="the old one's end")
        finally:
            go_on.set()
            talker.forget()
        assert replicas(valkey_server) == names
        assert passed(many(pair, MINUTE, 60, **PAID)) == 10
        assert passed(many(pair, FIVE, 16, **PAID)) == 3
        assert (place(one), place(other)) == (200, 200)
