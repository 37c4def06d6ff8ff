"""A crossed budget is told to the webhook once, whatever the webhook does, and no request waits for it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from harness.gateway import eventually, running
from harness.upstream import Upstream
from harness.wire import secret
from money.answers import uses_all
from money.conftest import ANSWER_USD, MAX_TOKENS, priced_config, wait_for_the_ledger

SOFT_KEY = secret("soft")


class Webhook:
    """Listens on loopback; the first answers are what it was told."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.statuses: list[int] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status = webhook.statuses.pop(0) if webhook.statuses else 200
                if status == 200:
                    webhook.bodies.append(body)
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    made = Webhook()
    yield made
    made.close()


def test_soft_and_hard_budget_are_told_once_each_and_failures_are_tried_again(
    upstream: Upstream, webhook: Webhook
) -> None:
    config = priced_config(upstream, general_settings={"alert_to_webhook_url": webhook.url})
    config["keys"].append(
        {"key": SOFT_KEY, "alias": "soft", "max_budget": 4 * ANSWER_USD, "soft_budget": 1.5 * ANSWER_USD}
    )
    uses_all(upstream["paid"], gap_s=0)
    webhook.statuses = [500, 302]
    with running(config, workers=2) as gateway:
        wait_for_the_ledger(gateway)
        started_s = time.monotonic()
        statuses = [gateway.chat("paid", key=SOFT_KEY, max_tokens=MAX_TOKENS).status for _ in range(6)]
        assert statuses == [200, 200, 200, 200, 429, 429]
        assert time.monotonic() - started_s < 10
        eventually(lambda: len(webhook.bodies) == 2, within_s=20, what="two alerts")
    soft, hard = webhook.bodies
    assert (soft["event"], hard["event"]) == ("soft_budget_crossed", "budget_crossed")
    assert (soft["event_group"], len(soft["token"])) == ("key", 64)
    assert soft["spend"] == pytest.approx(2 * ANSWER_USD)
    assert soft["soft_budget"] == pytest.approx(1.5 * ANSWER_USD)
    assert hard["spend"] == pytest.approx(4 * ANSWER_USD)
