"""A new process of the gateway that has another webhook has it told there, though the store's process stays."""

from __future__ import annotations

import yaml

from harness.gateway import eventually, running
from harness.upstream import Upstream
from harness.wire import secret
from money.answers import uses_all
from money.conftest import ANSWER_USD, MAX_TOKENS, priced_config, wait_for_the_ledger
from money.test_alerts import Webhook, stores_process


def test_webhook_of_the_next_process_is_told(upstream: Upstream) -> None:
    key = secret("after")
    old, new = Webhook(), Webhook()
    config = priced_config(upstream, general_settings={"alert_to_webhook_url": old.url})
    config["keys"].append({"key": key, "soft_budget": 0.5 * ANSWER_USD})
    uses_all(upstream["paid"], gap_s=0)
    with running(config, workers=2) as gateway:
        wait_for_the_ledger(gateway)
        before = stores_process(gateway)
        changed = yaml.safe_load(gateway.config_file.read_text())
        changed["general_settings"]["alert_to_webhook_url"] = new.url
        gateway.config_file.write_text(yaml.safe_dump(changed))
        gateway.hand_over()
        assert gateway.chat("paid", key=key, max_tokens=MAX_TOKENS, timeout_s=100).status == 200
        eventually(lambda: len(new.bodies) == 1, what="an alert at the new address")
        assert before.is_running(), "it serves the new process too"
    for webhook in (old, new):
        webhook.close()
    assert old.bodies == []
