"""What the first page reads: few rows by hour and model, with the sums of all the others."""

from __future__ import annotations

import itertools
import random
from typing import Any

import msgspec
from sqlalchemy import text

from routewright.keeper.glances import Glances
from routewright.management.glance import overview
from routewright.store.database import Database, now_ms
from routewright.store.incoming import read_record
from routewright.store.ledger import DAY_MS, HOUR_MS, insert_rows

_numbers = itertools.count()


def record(**changed: Any) -> bytes:
    values: dict[str, Any] = {
        "call_id": f"glance-{next(_numbers)}", "request_id": "r", "started_at": 1.0, "endpoint": "chat",
        "key_hash": "k1", "status": 200, "ended": "complete", "is_stream": False, "prompt_tokens": 10,
        "completion_tokens": 5, "cost_nusd": 100, "is_priced": True, "attempts": 1, "provider": "openai",
    }  # fmt: skip
    return msgspec.json.encode({**values, **changed})


def insert(database: Database, *lines: bytes) -> None:
    rows = [read_record(line) for line in lines]
    database.write(lambda connection: insert_rows(connection, rows))


def sums(database: Database, span_ms: int) -> dict[str, list[int]]:
    return dict(database.read(lambda connection: overview(connection, span_ms=span_ms))["by_model"])


def test_sums_by_model_are_those_of_the_rows_by_hour_and_by_day(database: Database) -> None:
    rng = random.Random(1)
    now = now_ms()
    lines = [
        record(
            key_hash=f"k{rng.randrange(9)}", model=rng.choice(("m", "n", None)), cost_nusd=rng.randrange(1000),
            ended_at_ms=now - rng.randrange(20 * DAY_MS), ended=rng.choice(("complete", "refused")),
        )
        for _ in range(400)
    ]  # fmt: skip
    insert(database, *lines)
    insert(database, *lines[:50])  # read again, as after a crash
    for span_ms, step in ((24 * HOUR_MS, HOUR_MS), (720 * HOUR_MS, DAY_MS)):
        first = (now - span_ms) // step * step + step
        by_hand: dict[str, list[int]] = {}
        for line in lines:
            one = msgspec.json.decode(line)
            if one["ended_at_ms"] >= first:
                known = by_hand.setdefault(one["model"] or "", [0, 0, 0])
                known[0] += 1
                known[1] += one["ended"] == "refused"
                known[2] += one["cost_nusd"]
        found = sums(database, span_ms)
        assert {model: [row[0], row[1], row[4]] for model, row in found.items()} == by_hand


def test_older_ledger_gets_the_sums_of_its_last_month(database: Database) -> None:
    now = now_ms()
    insert(database, record(model="m", ended_at_ms=now), record(model="m", ended_at_ms=now - 3 * DAY_MS))
    insert(database, record(model="m", ended_at_ms=now - 60 * DAY_MS, key_hash="k2"))
    before = sums(database, 720 * HOUR_MS)
    database.write(lambda connection: connection.execute(text("DROP TABLE spend_models")))
    database.write(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '0010'")))
    database.migrate()
    assert sums(database, 720 * HOUR_MS) == before
    assert before["m"][0] == 2
    assert database.read(lambda connection: connection.scalar(text("SELECT sum(requests) FROM spend_models"))) == 2


def test_answer_for_everybody_is_kept_for_a_moment_and_one_for_one_owner_is_not(database: Database) -> None:
    glances = Glances()

    def ask(name: str, **parameters: Any) -> Any:
        return glances.answer(database, msgspec.Raw(msgspec.msgpack.encode([name, parameters])))

    day = ask("overview", span_ms=24 * HOUR_MS)
    assert ask("requests", of={})["rows"] == []
    insert(database, record(model="m", ended_at_ms=now_ms()))
    assert ask("overview", span_ms=24 * HOUR_MS) is day
    assert ask("overview", span_ms=168 * HOUR_MS)["by_model"] != []
    assert len(ask("requests", of={})["rows"]) == 1
