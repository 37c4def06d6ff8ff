"""Records become rows once, sums are those of the rows, and what an owner has spent is exact to the millisecond."""

from __future__ import annotations

import itertools
import random
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select

from routewright.store import lineage
from routewright.store.database import Database
from routewright.store.incoming import read_record
from routewright.store.ledger import HOUR_MS, insert_rows, spent_nusd
from routewright.store.schema import keys, spend, spend_hours, spend_tags

NOON_MS = 1_700_049_600_000
_numbers = itertools.count()


def record(**changed: Any) -> dict[str, Any]:
    """What a journal's line holds."""
    values: dict[str, Any] = {
        "call_id": f"call-{next(_numbers)}", "request_id": "r", "started_at": NOON_MS / 1000 - 1,
        "ended_at_ms": NOON_MS,
        "endpoint": "chat", "key_hash": "k1", "key_alias": "a", "model_asked": "auto", "model": "m", "deployment": "d",
        "provider": "openai", "status": 200, "error_code": None, "ended": "complete", "is_stream": False,
        "prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 1, "reasoning_tokens": 0,
        "usage_estimated": False, "cost_nusd": 100, "is_priced": True, "latency_ms": 1000.0, "ttft_ms": 10.0,
        "attempts": 1, "fallbacks": 0, "user": None, "tags": [],
    }  # fmt: skip
    return {**values, **changed}


def insert(database: Database, *records: dict[str, Any]) -> int:
    rows = [read_record(msgspec.json.encode(each)) for each in records]
    return database.write(lambda connection: insert_rows(connection, rows))


def spent(database: Database, scope: str, owner: str, from_ms: int = 0, to_ms: int = 1 << 62) -> int:
    return database.read(lambda connection: spent_nusd(connection, scope, owner, from_ms, to_ms))


def test_record_is_one_row_however_often_it_comes(database: Database) -> None:
    """L: within a batch, in a later one, and beside new ones."""
    first, second, third = record(), record(), record()
    assert insert(database, first, second, first) == 2
    assert insert(database, second, third) == 1
    assert insert(database, first, second, third) == 0
    assert database.read(lambda connection: connection.scalar(select(func.count()).select_from(spend))) == 3
    assert spent(database, "key", "k1") == 300


def test_many_rows_hold_what_their_records_say_whatever_these_have_in_common(database: Database) -> None:
    """Rows go in by the dozen, and what all of a batch say is handed over once."""
    records = [
        record(
            key_hash=f"k{number % 3}", user_id=None if number % 5 else f"u{number}", team_id="t",
            error_code="rate_limited" if number == 70 else None, is_stream=number % 2 == 0, is_priced=True,
            cost_nusd=number, tags=["x"] if number > 100 else [],
        )
        for number in range(200)
    ]  # fmt: skip
    assert insert(database, *records) == len(records)
    names = ("call_id", "key_hash", "user_id", "team_id", "error_code", "is_stream", "is_priced", "cost_nusd")
    wanted = select(*[spend.c[name] for name in names], spend.c.tags, spend.c.peer).order_by(spend.c.cost_nusd)
    rows = database.read(lambda connection: connection.execute(wanted).all())
    assert [tuple(row) for row in rows] == [
        (*[each[name] for name in names], each["tags"] or None, None) for each in records
    ]
    assert spent(database, "key", "k1") == sum(range(1, 200, 3))
    assert insert(database, *records, record()) == 1


def test_another_attempt_of_a_call_is_a_row_of_its_own(database: Database) -> None:
    first = record()
    assert insert(database, first, {**first, "attempts": 2}) == 2


def test_every_owner_s_spend_is_summed(database: Database) -> None:
    """R10."""
    insert(
        database,
        record(team_id="t/x", user_id="u", user="c", tags=["a", "b", "a"], cost_nusd=1),
        record(team_id="t/x", user_id="v", tags=["b"], cost_nusd=10),
        record(key_hash="k2", team_id="t", user_id="x/u", model="other/m", cost_nusd=100),
    )
    for scope, owner, expected in (
        ("key", "k1", 11), ("key", "k2", 100), ("team", "t/x", 11), ("team", "t", 100), ("user", "u", 1),
        ("customer", "c", 1), ("tag", "a", 1), ("tag", "b", 11), ("tag", "A", 0), ("team_member", "t/x/v", 10),
        ("model_per_key", "k1/m", 11), ("model_per_key", "k2/other/m", 100), ("model_per_team", "t/x/m", 11),
        ("model_per_user", "u/m", 1), ("team", "", 0), ("key", "' OR 1=1 --", 0),
    ):  # fmt: skip
        assert spent(database, scope, owner) == expected, (scope, owner)


@pytest.mark.parametrize("scope", ["key", "tag"])
def test_window_counts_to_the_millisecond(database: Database, scope: str) -> None:
    """Hourly sums inside, single rows at the edges: the same as adding up rows."""
    rng = random.Random(4)
    owner = "k1" if scope == "key" else "x"
    moments = [NOON_MS + rng.randrange(-3 * HOUR_MS, 3 * HOUR_MS) for _ in range(300)]
    moments += [NOON_MS + offset for offset in (-1, 0, 1, HOUR_MS - 1, HOUR_MS)]
    insert(
        database,
        *[record(ended_at_ms=at, cost_nusd=1 << place % 40, tags=["x"]) for place, at in enumerate(moments)],
    )
    edges = [0, NOON_MS - HOUR_MS, NOON_MS - 1, NOON_MS, NOON_MS + 30_000, NOON_MS + HOUR_MS, NOON_MS + HOUR_MS + 1]
    for start, end in itertools.combinations([*edges, NOON_MS + 9 * HOUR_MS, 1 << 62], 2):
        expected = sum(1 << place % 40 for place, at in enumerate(moments) if start <= at < end)
        assert spent(database, scope, owner, start, end) == expected, (start, end)


@pytest.mark.parametrize("scope", ["key", "model_per_key"])
def test_key_that_replaced_others_has_their_past(database: Database, scope: str) -> None:
    """A budget's window does not begin again because its key was regenerated, however often."""
    first, second, third, other = ("1" * 64, "2" * 64, "3" * 64, "4" * 64)
    for at_hour, (key_hash, cost) in enumerate([(first, 100), (second, 20), (third, 3), (other, 4000)]):
        insert(database, record(key_hash=key_hash, cost_nusd=cost, ended_at_ms=NOON_MS + at_hour * HOUR_MS + 1))
    insert(database, record(key_hash=first, cost_nusd=50_000, model="another", ended_at_ms=NOON_MS + 2 * HOUR_MS + 2))
    before = {"key_hash": first, "lineage_hash": None}
    for successor in (second, third):
        line = database.write(lambda connection, before=before: lineage.replace(connection, before))
        assert line == first
        before = {"key_hash": successor, "lineage_hash": line}
    database.write(
        lambda connection: connection.execute(
            keys.insert().values(
                key_hash=third, lineage_hash=first, key_name="sk-...3333", key_type="default", blocked=False,
                is_service_account=False, created_at_ms=1, updated_at_ms=1,
            )
        )
    )  # fmt: skip
    owner, all_of_them = (first, 50_123) if scope == "key" else (f"{first}/m", 123)
    assert spent(database, scope, owner) == all_of_them
    assert spent(database, scope, owner, NOON_MS + HOUR_MS, NOON_MS + 2 * HOUR_MS) == 20
    assert spent(database, scope, owner, NOON_MS + HOUR_MS + 2, NOON_MS + 2 * HOUR_MS + 2) == 3
    assert database.read(lambda connection: lineage.successors(connection, [first, second, other])) == {
        first: third, second: third,
    }  # fmt: skip
    assert database.read(lambda connection: lineage.last_of(connection, first)) == third


def test_hourly_sums_are_those_of_the_rows(database: Database) -> None:
    rng = random.Random(5)
    for _ in range(6):
        insert(
            database,
            *[
                record(
                    ended_at_ms=NOON_MS + rng.randrange(2 * HOUR_MS),
                    key_hash=rng.choice("ab"),
                    team_id=rng.choice([None, "t"]),
                    ended=rng.choice(["complete", "refused", "upstream_failed", "client_gone"]),
                    is_priced=rng.random() < 0.5,
                    cost_nusd=rng.randrange(1000),
                    tags=rng.choice([[], ["x"], ["x", "y"]]),
                )
                for _ in range(50)
            ],
        )

    def totals(connection: Any) -> tuple[Any, Any, Any]:
        rows = connection.execute(
            select(func.count(), func.sum(spend.c.cost_nusd), func.sum(spend.c.prompt_tokens)).select_from(spend)
        ).one()
        hours = connection.execute(
            select(func.sum(spend_hours.c.requests), func.sum(spend_hours.c.cost_nusd),
                   func.sum(spend_hours.c.prompt_tokens))
        ).one()  # fmt: skip
        failed = connection.execute(
            select(func.sum(spend_hours.c.failed_requests), func.sum(spend_hours.c.unpriced_requests))
        ).one()
        return tuple(map(int, rows)), tuple(map(int, hours)), tuple(map(int, failed))

    rows, hours, failed = database.read(totals)
    assert rows == hours
    count = database.read(
        lambda connection: connection.scalar(
            select(func.count()).select_from(spend).where(spend.c.ended.in_(["refused", "upstream_failed"]))
        )
    )
    assert failed[0] == count
    tagged = database.read(lambda connection: connection.execute(select(func.sum(spend_tags.c.requests))).scalar())
    listed = database.read(lambda connection: connection.execute(select(spend.c.tags)).scalars().all())
    assert int(tagged) == sum(len(tags or ()) for tags in listed)


def test_part_of_a_request_counts_its_cost_and_not_itself(database: Database) -> None:
    """Where several calls answer one request; what the best-rated candidate would have cost counts once."""
    asked = {"route": "auto", "chosen": "m", "baseline_nusd": 900}
    insert(
        database,
        record(cost_nusd=100, decision={**asked, "part_of": "call-x", "baseline_nusd": 0}, tags=["x"]),
        record(cost_nusd=200, decision=asked, tags=["x"]),
    )
    found = database.read(lambda connection: connection.execute(select(spend_hours)).mappings().one())
    assert (found["requests"], found["cost_nusd"], found["baseline_nusd"]) == (1, 300, 900)
    tagged = database.read(lambda connection: connection.execute(select(spend_tags)).mappings().one())
    assert (tagged["requests"], tagged["cost_nusd"]) == (1, 300)


@pytest.mark.parametrize(
    "nonsense",
    [{"cost_nusd": "1"}, {"cost_nusd": None}, {"started_at": "x"}, {"request_id": 5}, {"tags": 5}, {"attempts": True}],
)
def test_what_is_no_record_is_no_row(nonsense: dict[str, Any]) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_record(msgspec.json.encode(record(**nonsense)))


def test_text_that_a_database_can_t_hold_is_cleaned_and_figures_are_kept_in_range(database: Database) -> None:
    """1c of RELIABILITY: U+0000 is taken out before Postgres."""
    odd = record(user="a\0b", tags=["x\0y"], cost_nusd=10**30, prompt_tokens=-5, model="mödel 🙂", model_asked="%s' --")
    assert insert(database, odd) == 1
    row = database.read(lambda connection: connection.execute(select(spend)).mappings().one())
    assert (row["customer_id"], row["tags"], row["model"]) == ("ab", ["xy"], "mödel 🙂")
    assert (row["cost_nusd"], row["prompt_tokens"]) == (2**62, 0)
