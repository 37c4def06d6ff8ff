"""The ledger's truth: whatever is killed under load, it says what the upstream's own log says.

A few seconds by default; ROUTEWRIGHT_LONG=1 makes it ten thousand requests, fifty killed workers, thirty times the
store's process, and ten power cuts.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from harness import dialect
from harness.crowd import Leaver, ask, chat_bytes
from harness.gateway import Gateway, deployment, eventually, running
from harness.postgres import Postgres
from harness.upstream import Close, Deployment, Play, Request, Send, Upstream, Wait
from harness.wire import assert_error, secret
from money.answers import uses_all
from money.conftest import priced_config

IS_LONG = os.environ.get("ROUTEWRIGHT_LONG") == "1"
REQUESTS, WORKER_KILLS, STORE_KILLS, POWER_CUTS = (10_000, 50, 30, 10) if IS_LONG else (400, 4, 3, 2)
AT_ONCE = 32
WORKERS = 4
ID = re.compile(r"truth-[0-9]+")
ANSWER_TOKENS = 7
BOUND_KEY = secret("bound")
"""Its budget is never reached by the load, and is spent to the last token afterwards."""
BOUND_USD = 3.0
TOKEN_NUSD = 1000
"""Of an answer of `paid`, whose prompts are free."""


def script(request: Request) -> Play:
    """Good answers with a known usage, slow streams, failures before and in the middle."""
    asked = request.json
    kind = int(ID.search(asked["messages"][0]["content"])[0].split("-")[1]) % 10
    used = dialect.usage(9, ANSWER_TOKENS)
    if kind == 3 and request.deployment == "fragile":
        return [Send(dialect.response(503, dialect.to_json(dialect.openai_error("down"))))]
    if kind == 4:
        return [Send(dialect.response(400, dialect.to_json(dialect.openai_error("no"))))]
    if asked.get("stream"):
        packets = dialect.chunked_stream(dialect.chat_events(["a ", "b ", "c ", "d"], used=used))
        pieces = [step for piece in packets for step in (Send(piece), Wait(0.005))]
        return [*pieces[:4], Close()] if kind == 5 else pieces
    return [Wait(0.01), Send(dialect.response(200, dialect.to_json(dialect.chat_completion(usage=used))))]


@pytest.fixture(params=["sqlite", "postgres"] if IS_LONG else ["sqlite"])
def gateway(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[Gateway]:
    config = priced_config(upstream, router_settings={"fallbacks": [{"fragile": ["sound"]}], "num_retries": 0})
    config["model_list"] += [deployment(name, upstream, name) for name in ("fragile", "sound")]
    for name in ("fragile", "sound"):
        upstream[name].forget()
        upstream[name].runs(script)
    config["keys"].append({"key": BOUND_KEY, "alias": "bound", "max_budget": BOUND_USD, "budget_duration": "30d"})
    uses_all(upstream["paid"], gap_s=0)
    environment = {}
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        environment["DATABASE_URL"] = server.new_database()
    with running(config, workers=WORKERS, environment=environment) as started:
        started.database_url = environment.get("DATABASE_URL")
        yield started


class Load:
    """Clients that keep asking, some of whom leave, while the gateway dies and comes back."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.rng = random.Random(11)
        self.sent = 0
        self.whole: set[str] = set()
        """Requests whose clients have had a whole good answer."""
        self.is_up = asyncio.Event()
        self.is_up.set()

    async def client(self) -> None:
        while self.sent < REQUESTS:
            self.sent += 1
            name = f"truth-{self.sent}"
            await self.is_up.wait()
            try:
                await self.one(name, self.sent % 10)
            except (TimeoutError, OSError, AssertionError):
                await asyncio.sleep(0.02)  # a worker was killed with the request in its hands

    async def one(self, name: str, kind: int) -> None:
        is_stream = kind in (1, 5, 6, 7)
        request = chat_bytes("fragile", name, name, key=BOUND_KEY, max_tokens=50, stream=is_stream)
        if kind in (6, 8):
            await Leaver(request, after_s=self.rng.random() * 0.03, with_reset=self.rng.random() < 0.5).go(
                self.gateway.port
            )
            return
        reply = await ask(self.gateway.port, request)
        if reply.status == 200 and b'"error"' not in reply.body and (not is_stream or b"[DONE]" in reply.body):
            self.whole.add(name)

    async def killer(self) -> None:
        kills = ["worker"] * WORKER_KILLS + ["store"] * STORE_KILLS + ["all"] * POWER_CUTS
        self.rng.shuffle(kills)
        for number, kill in enumerate(kills, 1):
            while self.sent < REQUESTS * number / (len(kills) + 1):  # noqa: ASYNC110 - so many requests later
                await asyncio.sleep(0.01)
            if kill == "worker":
                workers = self.gateway.serving_processes()
                if workers:
                    self.rng.choice(workers).send_signal(signal.SIGKILL)
                continue
            if kill == "store":
                for process in self.gateway.store_processes():
                    process.kill()
                continue
            self.is_up.clear()
            self.gateway.kill_everything()
            await asyncio.to_thread(self.gateway.start_again)
            self.is_up.set()

    async def run(self) -> None:
        await asyncio.gather(self.killer(), *[self.client() for _ in range(AT_ONCE)])


def rows_of(gateway: Gateway) -> list[dict[str, Any]]:
    query = "SELECT request_id, key_alias, status, ended, completion_tokens, cost_nusd, is_estimated FROM spend"
    if gateway.database_url:
        import psycopg

        with psycopg.connect(gateway.database_url) as connection:
            cursor = connection.execute(query)
            return [dict(zip([each.name for each in cursor.description], row, strict=True)) for row in cursor]
    with sqlite3.connect(gateway.data_dir / "store.sqlite3") as database:
        database.row_factory = sqlite3.Row
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'spend'").fetchone():
            return []  # the process that makes the tables was killed before it could
        return [dict(row) for row in database.execute(query)]


def asked_of(*deployments: Deployment) -> Counter[str]:
    """Requests that reached an upstream, by their names."""
    return Counter(
        ID.search(request.json["messages"][0]["content"])[0] for each in deployments for request in each.requests
    )


def test_ledger_says_what_the_upstream_says(gateway: Gateway, upstream: Upstream) -> None:
    """F15, L: nothing that was answered is missing, nothing is counted twice, and nothing stays reserved: after
    workers and the store's process were killed and after power cuts the budget can be spent to its last token."""
    load = Load(gateway)
    asyncio.run(load.run())
    with asyncio.Runner() as runner:  # after the last power cut somebody has to wake the ledger
        runner.run(ask(gateway.port, chat_bytes("sound", "truth-0", "truth-0")))
    eventually(
        lambda: load.whole <= {row["request_id"] for row in rows_of(gateway)},
        within_s=30,
        what="every whole answer in the ledger",
    )
    spend_to_the_last_token(gateway)
    gateway.terminate()
    assert gateway.wait() == 0
    rows = rows_of(gateway)
    counts = Counter(row["request_id"] for row in rows)
    assert not [name for name, count in counts.items() if count > 1], "counted twice"
    asked = asked_of(upstream["fragile"], upstream["sound"])
    # Of a client that left at once nobody knows how far its request came; it is billed by our own count, and marked so.
    counted_by_upstream = {row["request_id"] for row in rows if row["cost_nusd"] and not row["is_estimated"]}
    counted_by_upstream = {name for name in counted_by_upstream if ID.match(name)}
    assert counted_by_upstream <= set(asked), "paid for what was never asked"
    by_name = {row["request_id"]: row for row in rows}
    for name in load.whole:
        row = by_name[name]
        assert (row["status"], row["ended"], row["completion_tokens"]) == (200, "complete", ANSWER_TOKENS), row
        assert not row["is_estimated"]
    assert len(load.whole) > REQUESTS * 0.3
    print(f"\n{REQUESTS} requests, {WORKER_KILLS} workers, {STORE_KILLS} stores and {POWER_CUTS} times all killed: "
          f"{len(load.whole)} whole answers, {len(rows)} rows, {sum(asked.values())} asked of upstreams")  # fmt: skip
    hours = sum_of_hours(gateway)
    assert hours == (len(rows), sum(row["cost_nusd"] for row in rows))


def spend_to_the_last_token(gateway: Gateway) -> None:
    """Nothing is reserved any more, and no budget counts what is not in the ledger: all that it leaves can be spent,
    and not a token more."""

    def left() -> int:
        mine = [row["cost_nusd"] for row in rows_of(gateway) if row["key_alias"] == "bound"]
        return (round(BOUND_USD * 1e9) - sum(mine)) // TOKEN_NUSD

    def is_spent() -> bool:
        return gateway.chat("paid", key=BOUND_KEY, max_tokens=left(), timeout_s=100).status == 200

    eventually(is_spent, within_s=30, what="a reservation of all that is left")
    assert_error(gateway.chat("paid", key=BOUND_KEY, max_tokens=1), 429, "budget_exceeded")


def sum_of_hours(gateway: Gateway) -> tuple[int, int]:
    query = "SELECT sum(requests), sum(cost_nusd) FROM spend_hours"
    if gateway.database_url:
        import psycopg

        with psycopg.connect(gateway.database_url) as connection:
            found = connection.execute(query).fetchone()
    else:
        with sqlite3.connect(gateway.data_dir / "store.sqlite3") as database:
            found = database.execute(query).fetchone()
    return int(found[0]), int(found[1])
