"""A key that is regenerated: its past, and that of the keys that it replaced, is told under the key that there is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from management.conftest import Desk, hash_of
from routewright.errors import Conflict, NotFound
from routewright.store.incoming import read_record
from routewright.store.ledger import insert_rows

NOON_MS = 1_700_049_600_000
OLD_KEY = "sk-a-key-that-was-once-the-key"


def spend_by(desk: Desk, key: str, cost_nusd: int) -> None:
    record: dict[str, Any] = {
        "call_id": f"call-{key}", "request_id": f"of-{key}", "started_at": NOON_MS / 1000, "ended_at_ms": NOON_MS,
        "endpoint": "chat", "key_hash": hash_of(key), "key_alias": "a", "user_id": "ann", "model_asked": "m",
        "model": "m", "provider": "openai", "status": 200, "ended": "complete", "is_stream": False,
        "prompt_tokens": 10, "completion_tokens": 5, "cost_nusd": cost_nusd, "is_priced": True, "latency_ms": 1.0,
        "attempts": 1,
    }  # fmt: skip
    desk.database.write(lambda connection: insert_rows(connection, [read_record(msgspec.json.encode(record))]))


def test_what_was_spent_is_told_of_the_key_that_there_is(desk: Desk) -> None:
    desk.key(key=OLD_KEY, key_alias="lasting", user_id="ann", spend=1.0)
    spend_by(desk, OLD_KEY, 2_000_000_000)
    second = desk.ask("key_regenerate", named=hash_of(OLD_KEY))["key"]
    spend_by(desk, second, 500_000_000)
    third = desk.ask("key_regenerate", named=second)["key"]
    spend_by(desk, third, 30_000_000)

    assert desk.ask("key_info", key=third)["info"]["spend"] == pytest.approx(3.53)
    listed = desk.ask("key_list", return_full_object="true")["keys"]
    assert [(each["token"], each["spend"]) for each in listed] == [(hash_of(third), pytest.approx(3.53))]
    (row,) = desk.ask("spend_keys")
    assert (row["token"], row["spend"], row["api_requests"]) == (hash_of(third), pytest.approx(3.53), 3)
    assert {each["spend"] for each in desk.ask("spend_logs", api_key=hash_of(third))} == {2.0, 0.5, 0.03}
    assert desk.ask("spend_logs", api_key=hash_of(OLD_KEY))[0]["spend"] == 2.0
    (day,) = desk.ask("spend_report", group_by="api_key", start_date="2023-11-15", end_date="2023-11-15")
    ((api_key, total),) = [(each["api_key"], each["total_spend"]) for each in day["api_keys"]]
    assert (api_key, total) == (hash_of(third), pytest.approx(2.53))
    with pytest.raises(NotFound):
        desk.ask("key_info", key=second)


def test_key_that_was_replaced_does_not_come_back(desk: Desk) -> None:
    """It may have been replaced because others know it."""
    desk.key(key=OLD_KEY)
    second = desk.ask("key_regenerate", named=hash_of(OLD_KEY))["key"]
    with pytest.raises(Conflict):
        desk.key(key=OLD_KEY)
    with pytest.raises(Conflict):
        desk.ask("key_regenerate", {"new_key": OLD_KEY}, named=second)
    with pytest.raises(Conflict):
        desk.ask("key_regenerate", {"new_key": second}, named=second)
    desk.ask("key_info", key=second)
