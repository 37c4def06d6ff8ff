"""Batches after they are made: how they stand, and what they used, on record once.

A batch that is over is counted when somebody asks about it, or fetches what came of it, else by a look at all that are
open now and then. One worker of all claims it; the record's `call_id` is the batch's, so that the ledger has one row of
it even where a worker dies over it and another counts it again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from routewright.admission.limits import Admission
from routewright.admission.purses import Purses
from routewright.errors import GatewayError, UpstreamError
from routewright.flow import Flow, Signal
from routewright.metered import MeteredCall, Units
from routewright.objects.exchange import BatchUsage, Collected, NoClient, ObjectReading, OutputReading, batch_nusd
from routewright.objects.places import Places
from routewright.objects.rows import BATCH_KIND, COPY_KIND, FILE_KIND, PATHS, TUNING_KIND, Row
from routewright.providers.objects import object_head
from routewright.record.ledger import Ledger
from routewright.storage import Storage
from routewright.types import Caller, Deployment, Group, Outcome
from routewright.upstream.carrier import Carrier
from routewright.upstream.carry import Sending
from routewright.wire.media import filled, metered

FINAL = frozenset({"completed", "failed", "expired", "cancelled"})
_OVER = FINAL | {"succeeded"}
"""States in which nothing changes any more, of fine-tuning too."""
LOOK_EVERY_S = 300.0
FIRST_LOOK_S = 5.0
GIVEN_UP_MS = 8 * 24 * 3600 * 1000
"""A batch that its provider has forgotten holds its owner's budget no longer than this."""
ASK_S = 10.0
log = logging.getLogger("routewright")


class BatchCall(MeteredCall, eq=False):
    """Reserves what all lines of a batch may cost together."""

    @classmethod
    def of(cls, model: str, about: Mapping[str, Any]) -> BatchCall:
        """`about`: what the lines of the file came to."""
        call = filled(cls, "batches", {"model": model}, None)
        call.prompt_tokens_estimate = int(about.get("prompt_tokens", 0))
        call.max_tokens = int(about.get("output_tokens", 0))
        call.units = Units(requests=int(about.get("lines", 0)))
        return call

    def worst_nusd(self, group: Group) -> int:
        """What it may cost at the dearest deployment of a group."""
        prompt, output = self.prompt_tokens_estimate, self.max_tokens or 0
        return max([batch_nusd(each, prompt, output) for each in group.deployments], default=0)


class Batches:
    """One worker's part in it."""

    def __init__(
        self,
        carrier: Carrier,
        storage: Storage,
        admission: Admission,
        purses: Purses,
        ledger: Ledger,
        caller_of: Callable[[str], Awaitable[Caller]],
        places: Callable[[], Places],
        *,
        is_looking: bool,
    ) -> None:
        """`ledger`: of calls that are no requests. `caller_of`: who holds a key, by its hash. `is_looking`: this worker
        looks at those that nobody asks about."""
        self._carrier = carrier
        self._storage = storage
        self._admission = admission
        self._purses = purses
        self._ledger = ledger
        self._caller_of = caller_of
        self._places = places
        self._is_looking = is_looking
        self._next_look_s = 0.0

    def on_tick(self, now: float) -> None:
        """Called each second or so; `now` is monotonic."""
        if not self._is_looking or not self._storage.is_connected:
            return
        if not self._next_look_s:
            self._next_look_s = now + FIRST_LOOK_S
        elif now >= self._next_look_s:
            self._next_look_s = now + LOOK_EVERY_S
            self._run(self._look())

    def look_at(self, object_id: str) -> None:
        """Somebody has what came of a batch: see that it is counted."""
        self._run(self._look_at(object_id))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Beside all requests."""
        Flow(_watched(work), lambda crash: log.error("a batch could not be looked at: %s", type(crash).__name__))

    async def _look(self) -> None:
        after = (0, "")
        while True:
            answer = await self._tell("owned_open", after)
            rows = msgspec.msgpack.decode(answer, type=list[Row])
            if not rows:
                return
            for row in rows:
                await self._look_at_row(row)
            after = (rows[-1]["created_at_ms"], rows[-1]["object_id"])

    async def _look_at(self, object_id: str) -> None:
        answer = await self._tell("owned_find", ((None, ""), [object_id]))
        for row in msgspec.msgpack.decode(answer, type=list[Row]):
            if row["is_open"]:
                await self._look_at_row(row)

    async def _look_at_row(self, row: Row) -> None:
        try:
            _, found = await self.ask(row, f"/batches/{row['object_id']}")
        except GatewayError as error:
            log.warning("batch %s: %s", row["object_id"], error.message)
            if error.status == 404 and row["created_at_ms"] < time.time() * 1000 - GIVEN_UP_MS:
                log.error("batch %s: nobody knows it any more; what it used is on no record", row["object_id"])
                await self._tell("owned_settle", row["object_id"])
            return
        if found.get("status") in FINAL and found.get("id") == row["object_id"]:
            await self.count(row, found)

    # --- asking the provider --------------------------------------------------------------------------------------

    async def ask(self, row: Row, path: str) -> tuple[bytes, dict[str, Any]]:
        """The object behind a path where `row` lies, for nobody's request. Raises GatewayError."""
        deployment = self._places().of(row)
        reading = ObjectReading(deployment)
        collected = Collected(NoClient())
        await self._send("GET", deployment, path, reading, collected, row)
        return collected.object()

    def undo(self, row: Row) -> None:
        """What was made and could not be put down as anybody's is not left to itself, as far as that can be had."""
        self._run(self._undo(row))

    async def _undo(self, row: Row) -> None:
        path = f"{PATHS[row['kind']]}/{row['object_id']}"
        deployment = self._places().of(row)
        method, path = ("DELETE", path) if row["kind"] in (FILE_KIND, COPY_KIND) else ("POST", f"{path}/cancel")
        await self._send(method, deployment, path, ObjectReading(deployment), NoClient(), row)

    async def _send(
        self,
        method: str,
        deployment: Deployment,
        path: str,
        reading: ObjectReading,
        client: Collected | NoClient,
        row: Row,
    ) -> None:
        end = b"content-length: 0\r\n\r\n" if method == "POST" else b"\r\n"

        def prepare(_: Deployment) -> Sending:
            return Sending(object_head(deployment, method, path) + end, None, False, reading)

        call = metered("batch", {"model": deployment.model_name}, None)
        call.prompt_tokens_estimate = call.max_tokens = 0
        outcome = _outcome(row, "batch")
        group = Group(deployment.model_name, "account", [deployment])
        await self._carrier.carry(call, [group], prepare, client, outcome, is_paid=False)

    async def fresh(
        self,
        rows: Sequence[Row],
        path: str,
        most: int,
        saw: Callable[[Row, Mapping[str, Any], bytes], Awaitable[None]],
    ) -> list[str]:
        """The bodies of `rows`; of those that may have changed, as their provider tells them now where it does."""
        bodies = [str(row["body"]) for row in rows]
        changing = [at for at, row in enumerate(rows) if row["is_open"] or not _is_over(row)][:most]
        waiting: list[Signal[None]] = []
        for at in changing:
            done: Signal[None] = Signal()
            waiting.append(done)
            self._run(self._refresh(rows[at], path, at, bodies, done, saw))
        for done in waiting:
            await done
        return bodies

    async def _refresh(
        self,
        row: Row,
        path: str,
        at: int,
        bodies: list[str],
        done: Signal[None],
        saw: Callable[[Row, Mapping[str, Any], bytes], Awaitable[None]],
    ) -> None:
        try:
            seen, found = await self.ask(row, f"{path}/{row['object_id']}")
            await saw(row, found, seen)
            bodies[at] = seen.decode()
        except (GatewayError, UnicodeDecodeError):
            pass  # it is told as it was seen last
        finally:
            done.set(None)

    # --- what it used ---------------------------------------------------------------------------------------------

    async def count(self, row: Row, found: Mapping[str, Any]) -> None:
        """Put on record what a batch that is over has used, unless somebody else does. Where that has to be read off
        its output, nobody waits for it."""
        answer = await self._tell("owned_claim", row["object_id"])
        held_nusd = msgspec.msgpack.decode(answer, type=int | None)
        if held_nusd is None:
            return
        used = BatchUsage()
        output = found.get("output_file_id")
        counts = found.get("request_counts")
        if type(counts) is dict and type(completed := counts.get("completed")) is int and 0 <= completed < 2**40:
            used.units = Units(requests=completed)
        if used.add(found.get("usage")) or type(output) is not str or not output:
            await self._record(row, used, held_nusd)
        else:
            self._run(self._count_output(row, output, held_nusd))

    async def _count_output(self, row: Row, output: str, held_nusd: int) -> None:
        try:
            deployment = self._places().of(row)
            reading = OutputReading(deployment)
            await self._send("GET", deployment, f"/files/{output}/content", reading, NoClient(), row)
            if not reading.is_whole:
                raise UpstreamError("the output of a batch broke off")
            used = reading.used
        except GatewayError as error:
            if error.status != 404:
                await self._tell("owned_give_up", row["object_id"])
                raise
            used = BatchUsage.lost(row["about"] or {})
        await self._record(row, used, held_nusd)

    async def _record(self, row: Row, used: BatchUsage, held_nusd: int) -> None:
        outcome = _outcome(row, "batch")
        call = outcome.call = metered("batch", {"model": row["model"]}, None)
        call.user = row["customer_id"]
        call.metadata_tags = tuple(row["tags"] or ())
        outcome.deployment = self._places().of(row)
        outcome.status, outcome.ended, outcome.attempts = 200, "complete", 1
        outcome.ended_at_ms = int(time.time() * 1000)
        outcome.bill(used)
        written: Signal[None] = Signal()
        self._ledger.settle(outcome, lambda: written.set(None))
        await written
        await self._recount(row, outcome, held_nusd)
        await self._tell("owned_settle", row["object_id"])

    async def _recount(self, row: Row, outcome: Outcome, held_nusd: int) -> None:
        """In place of what its owner's budgets held for it."""
        assert outcome.call is not None
        assert outcome.deployment is not None
        if outcome.deployment.budgets:
            self._purses.recount(
                outcome.deployment, outcome.call, outcome.cost_nusd, held_nusd, int(row["created_at_ms"])
            )
        try:
            caller = await asyncio.get_running_loop().create_task(self._of_hash(row["key_hash"]))
        except GatewayError:
            return  # the key is gone; its team's budget has it back with its next window
        self._admission.recount(
            caller, outcome.call, row["model"], outcome.cost_nusd, held_nusd, int(row["created_at_ms"])
        )

    async def _of_hash(self, key_hash: str) -> Caller:
        return await self._caller_of(key_hash)

    async def _tell(self, what: str, body: Any) -> msgspec.Raw:
        return await asyncio.get_running_loop().create_task(self._storage.ask(what, body, timeout_s=ASK_S))


async def _watched(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except GatewayError as error:
        log.warning("a batch could not be looked at: %s", error.message)
    except Exception:
        log.exception("a batch could not be looked at")


def _outcome(row: Row, endpoint: str) -> Outcome:
    """Of its maker, whoever asks about it."""
    caller = Caller(
        key_hash=row["key_hash"],
        alias=row["key_alias"],
        is_master=False,
        models=None,
        user_id=row["user_id"],
        team_id=row["team_id"],
        organization_id=row["organization_id"],
    )
    name = f"batch-{row['object_id']}"
    call_id = hashlib.sha256(f"{row['deployment_id']}/{row['object_id']}".encode()).hexdigest()[:32]
    return Outcome(endpoint, caller, name[:64], call_id, time.monotonic())


def _is_over(row: Row) -> bool:
    if row["kind"] not in (BATCH_KIND, TUNING_KIND):
        return True
    try:
        return msgspec.json.decode(row["body"]).get("status") in _OVER
    except (msgspec.DecodeError, AttributeError):
        return False
