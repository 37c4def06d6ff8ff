"""A crossed budget is told to the webhook once, whatever the webhook does, and no request waits for it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil
import pytest
import yaml

from harness.admin import manage
from harness.gateway import Gateway, eventually, running
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
        eventually(lambda: len(webhook.bodies) == 2, what="two alerts")
    hard, soft = sorted(webhook.bodies, key=lambda body: body["event"])  # told by two workers, so in either order
    assert (soft["event"], hard["event"]) == ("soft_budget_crossed", "budget_crossed")
    assert (soft["event_group"], len(soft["token"])) == ("key", 64)
    assert soft["spend"] == pytest.approx(2 * ANSWER_USD)
    assert soft["soft_budget"] == pytest.approx(1.5 * ANSWER_USD)
    assert hard["spend"] == pytest.approx(4 * ANSWER_USD)


def stores_process(gateway: Gateway) -> psutil.Process:
    found: psutil.Process = next(each for each in gateway.processes() if "routewright.keeper" in each.cmdline())
    return found


def test_webhook_of_a_reloaded_configuration_is_told_by_the_process_that_runs_and_by_the_next(
    upstream: Upstream, webhook: Webhook
) -> None:
    keys = [secret(name) for name in ("first", "second", "third")]
    config = priced_config(upstream, general_settings={"alert_to_webhook_url": webhook.url})
    config["keys"] += [{"key": key, "soft_budget": 0.5 * ANSWER_USD} for key in keys]
    uses_all(upstream["paid"], gap_s=0)
    other = Webhook()
    with running(config, workers=2) as gateway:
        wait_for_the_ledger(gateway)

        def cross(key: str) -> None:
            assert gateway.chat("paid", key=key, max_tokens=MAX_TOKENS, timeout_s=100).status == 200

        cross(keys[0])
        eventually(lambda: len(webhook.bodies) == 1, what="an alert")
        before = stores_process(gateway)
        config["general_settings"]["alert_to_webhook_url"] = other.url
        gateway.config_file.write_text(yaml.safe_dump({**yaml.safe_load(gateway.config_file.read_text()), **config}))
        told = manage(gateway, "/config/reload", {})
        assert told == {**told, "changed": ["alert_to_webhook_url"], "needs_restart": []}
        cross(keys[1])
        eventually(lambda: len(other.bodies) == 1, what="an alert at the new address")
        assert stores_process(gateway) == before, "nothing was started anew"
        before.kill()
        cross(keys[2])
        eventually(lambda: len(other.bodies) == 2, within_s=30, what="an alert of the next process")
    other.close()
    assert len(webhook.bodies) == 1
