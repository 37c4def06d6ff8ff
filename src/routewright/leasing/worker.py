"""A worker's talk with the server that limits are leased from.

Each worker has a connection of its own, and what one of them is given lies in the rows that all of its machine share:
no further process stands between, and none that dies takes the leases with it. All questions of a turn of the loop go
out together. A server that is gone, slow or has forgotten is left alone, and the machine keeps to its share; when it is
back every machine first says what it uses, and only then asks for more.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import resources

from routewright.admission.counters import Counters
from routewright.admission.leases import Leases, Needs, Sharing
from routewright.admission.meters import BudgetMeter, LimitMeter
from routewright.admission.questions import BudgetQuestion, LimitQuestion, Question
from routewright.flow import Signal
from routewright.leasing.fitness import facts_of, fault_of, warning_of
from routewright.settings import ValkeySettings
from routewright.valkey.connection import Command, Replies, ReplyError, Valkey, ValkeyLost
from routewright.valkey.whereabouts import connect

START_S = 1.0
"""The first requests wait so long for the first connection."""
BEAT_S = 1.0
REPLICA_MS = 10_000
"""A machine that was not heard of for so long has no share."""
SETTLE_S = 3.0
"""After the server was away or has forgotten: every machine has told what it uses by then, since each notices within a
second or two."""
RETRY_S = 1.0
POLL_S = 0.001
"""Where another worker's question for the same row is under way."""
GRACE_S = 0.005
"""An answer may lie in the socket when the time is up, if this process was what was slow."""
AT_ONCE = 250
IDLE_MS = 120_000
BUDGET_KEPT_MS = 40 * 86_400_000
AFTER_WINDOW_MS = 3_600_000
FOLDED_MS = 60_000
UNTOLD_MS = 10_000
"""Twice what each machine looks at the one ledger after."""
LAST_WORDS_S = 0.3
_FORGOTTEN, _OUTDATED = -2, -1
"""What the scripts answer in place of a lease."""
_FORGETS = "forgets"
_STARTING, _THERE, _AWAY, _SETTLING = range(4)
log = logging.getLogger("routewright")


class Leasing:
    """Asks for leases, tells what is used of them, and notices when nobody listens."""

    def __init__(
        self,
        settings: ValkeySettings,
        counters: Counters,
        leases: Leases,
        ledger: str,
        on_replicas: Callable[[int], None] = lambda count: None,
    ) -> None:
        """`ledger`: the same on all machines whose spend is in one database. `on_replicas`: called with how many there
        are, when that is another number than before."""
        self._settings = settings
        self._counters = counters
        self._leases = leases
        self._ledger = ledger
        self._on_replicas = on_replicas
        self._replicas_told = 0
        self._holder = counters.name
        self._ended = ",".join(counters.ended)
        self._epoch = self._warned = ""
        self._state = _STARTING
        self._has_ended = self._is_told_away = False
        self._questions: dict[int, Question] = {}
        self._due: dict[int, Question] = {}
        self._under_way: dict[int, Question] = {}
        self._number = 0
        self._connection: Valkey | None = None
        self._broken = asyncio.Event()
        self._scripts = {name: resources.files(__package__).joinpath(f"{name}.lua").read_text("utf-8")
                         for name in ("limit", "budget", "beat")}  # fmt: skip
        self._hashes = {name: hashlib.sha1(text.encode()).hexdigest() for name, text in self._scripts.items()}  # noqa: S324 - the server's way to name a script
        self._flushing: asyncio.Handle | None = None
        self._polling: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._beat_s = self._round_trip_s = 0.0
        self._turn = self._settling = 0
        leases.on_low = self.tell_soon
        leases.on_away = self._question_of

    def start(self) -> None:
        """Called on the loop that the worker serves on."""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._keep_open())
        loop.call_later(START_S, self._give_up_start)

    async def close(self) -> None:
        """Give back what is not in use."""
        if self._task is not None:
            self._task.cancel()
        connection = self._connection
        if self._state == _THERE and connection is not None:
            asked, commands = self._ask(list(self._questions.values()), is_last=True)
            if not self._counters.are_shared:  # else another worker may go on
                commands.append(("ZREM", self._key("replicas"), self._holder))
            told, sent_ms = asyncio.Event(), self._mono_ms()

            def heard(replies: Replies | None) -> None:
                self._answered(asked, sent_ms, replies)
                told.set()

            try:
                if commands:
                    connection.send(commands, heard)
                    await asyncio.wait_for(told.wait(), LAST_WORDS_S)
            except TimeoutError:
                log.warning("the Valkey did not hear that this worker ends; its leases end by themselves")
        self._state, self._has_ended = _AWAY, True
        self._leases.is_away = True  # whoever still waits would ask again, for ever
        # Another worker or the successor uses the same rows, and would wait for answers that nobody takes any more.
        self._counters.lock()
        for question in self._under_way.values():
            question.failed()
        self._under_way.clear()
        self._counters.unlock()
        if connection is not None:
            connection.close()

    def sharing(self) -> Sharing:
        """How things are now."""
        is_there = self._state == _THERE
        machines = self._counters.replicas
        return Sharing(is_there, self._round_trip_s if is_there else 0.0, machines, len(self._questions))

    # --- what admission calls -----------------------------------------------------------------------------------------

    def ask_for(self, needs: Needs) -> Signal[None]:
        """The signal is set when there is an answer, or none to be had."""
        question = self._question_of(needs.meter)
        signal = question.add(needs)
        if self._state in (_AWAY, _SETTLING):
            self._set_free([question.release()])
        else:
            self._tell_soon(question)
        return signal

    def tell_soon(self, meter: LimitMeter | BudgetMeter) -> None:
        """Called under the lock of the counters, so it only notes."""
        if self._state == _THERE:
            self._tell_soon(self._question_of(meter))

    def on_tick(self, now: float) -> None:
        if self._state == _AWAY or self._connection is None:
            return
        if now - self._beat_s >= BEAT_S:
            self._beat_s = now
            self._send([self._beat()], partial(self._heard_tick, time.monotonic()))
            if self._state == _SETTLING and self._epoch:
                self._tell_all(None)  # shares that were taken since
        if self._state == _THERE and self._questions:
            self._turn = self._turn + 1 if self._turn * AT_ONCE < len(self._questions) else 0
            some = list(self._questions.values())[self._turn * AT_ONCE : (self._turn + 1) * AT_ONCE]
            mono_ms = self._mono_ms()
            for question in some:
                if question.is_idle(mono_ms, IDLE_MS):
                    del self._questions[question.tag]
                else:
                    self._tell_soon(question)

    # --- asking -------------------------------------------------------------------------------------------------------

    def _question_of(self, meter: LimitMeter | BudgetMeter) -> Question:
        question = self._questions.get(meter.tag)
        if isinstance(meter, LimitMeter):
            if isinstance(question, LimitQuestion):
                question.speak_of(meter)
                return question
            name = self._name("limit", meter.scope, meter.owner)
            question = LimitQuestion(meter, self._counters, self._leases, (f"{name}:minute", f"{name}:places"))
        else:
            if isinstance(question, BudgetQuestion) and question.start_ms == meter.start_ms:
                question.speak_of(meter)
                return question
            if question is not None:  # of a window that has ended
                asyncio.get_running_loop().call_soon(self._set_free, [question.release()])
            allowance = meter.allowance
            name = self._name("budget", allowance.scope, allowance.owner, allowance.budget_duration or "")
            question = BudgetQuestion(meter, self._counters, self._leases, (f"{name}:{meter.start_ms}",))
        self._questions[meter.tag] = question
        return question

    def _tell_soon(self, question: Question) -> None:
        self._due[question.tag] = question
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = None
        if self._state != _THERE:
            return
        due, self._due = self._due, {}
        asked, commands = self._ask(list(due.values()))
        if commands:
            self._send(commands, partial(self._answered, asked, self._mono_ms()))

    def _ask(
        self, questions: Sequence[Question], *, only_tell: bool = False, is_last: bool = False
    ) -> tuple[list[Question], list[Command]]:
        asked: list[Question] = []
        commands: list[Command] = []
        freed = []
        mono_ms, now_ms = self._mono_ms(), int(time.time() * 1000)
        self._counters.lock()
        try:
            for question in questions:
                if question.is_busy(mono_ms):
                    if question.tag not in self._under_way and not is_last:
                        self._due[question.tag] = question
                        self._poll()
                    elif question.waiting:
                        self._due[question.tag] = question
                    continue
                arguments = question.ask(mono_ms, now_ms, only_tell=only_tell, is_last=is_last)
                if arguments is None:
                    freed.append(question.release())
                    continue
                asked.append(question)
                self._under_way[question.tag] = question
                commands.append(self._command(question, arguments, now_ms))
        finally:
            self._counters.unlock()
        self._set_free(freed)
        return asked, commands

    def _command(self, question: Question, arguments: list[int], now_ms: int) -> Command:
        self._number = max(self._number + 1, int(time.monotonic() * 1e6))
        begin = (self._epoch, self._holder, self._number, self._counters.replicas)
        if isinstance(question, BudgetQuestion):
            kept_ms = max(AFTER_WINDOW_MS, min(BUDGET_KEPT_MS, question.end_ms - now_ms + AFTER_WINDOW_MS))
            return (
                "EVALSHA", self._hashes["budget"], 2, self._key("epoch"), *question.keys, *begin,
                self._ledger, *arguments, kept_ms, FOLDED_MS, self._ended,
                UNTOLD_MS if self._leases.has_one_ledger else 0,
            )  # fmt: skip
        return (
            "EVALSHA",
            self._hashes["limit"],
            3,
            self._key("epoch"),
            *question.keys,
            *begin,
            *arguments,
            self._ended,
        )

    def _poll(self) -> None:
        if self._polling is None:
            self._polling = asyncio.get_running_loop().call_later(POLL_S, self._poll_again)

    def _poll_again(self) -> None:
        self._polling = None
        if self._due:
            self._flush()

    def _send(self, commands: list[Command], then: Callable[[Replies | None], None]) -> None:
        """With a time limit, after which the server counts as away."""
        connection = self._connection
        assert connection is not None
        timer = asyncio.get_running_loop().call_later(self._settings.timeout_s, self._be_late, connection)

        def answered(replies: Replies | None) -> None:
            timer.cancel()
            then(replies)

        connection.send(commands, answered)

    def _be_late(self, connection: Valkey) -> None:
        asyncio.get_running_loop().call_later(GRACE_S, self._be_too_late, connection, connection.answers)

    def _be_too_late(self, connection: Valkey, answers: int) -> None:
        # Whatever has come in the meantime is a sign of life: what was asked before that has its answer.
        if connection is self._connection and connection.answers == answers:
            self._go_away(f"no answer within {self._settings.timeout_s:g} s")

    def _answered(self, asked: Sequence[Question], sent_ms: int, replies: Replies | None) -> None:
        fault = ""
        mono_ms = self._mono_ms()
        self._counters.lock()
        try:
            for place, question in enumerate(asked):
                reply = None if replies is None else replies[place]
                self._under_way.pop(question.tag, None)
                if isinstance(reply, list) and reply[0] != _FORGOTTEN and reply[0] != _OUTDATED:
                    question.answered(reply, sent_ms, mono_ms)
                else:
                    question.failed()
                    if isinstance(reply, ReplyError):
                        fault = str(reply)
                    elif isinstance(reply, list) and reply[0] == _FORGOTTEN:
                        fault = fault or _FORGETS
        finally:
            self._counters.unlock()
        if fault == _FORGETS:
            self._has_forgotten()
        elif fault:
            self._go_away(fault)
        elif replies is not None and self._state == _THERE:
            self._counters.heard_ms = mono_ms
        self._set_free([question.release_asked() for question in asked])
        for question in asked:
            if question.waiting or question.is_hoarding():
                if self._state in (_AWAY, _SETTLING):
                    self._set_free([question.release()])
                else:
                    self._tell_soon(question)

    def _set_free(self, calls: Iterable[Iterable[Signal[None]]]) -> None:
        """Resume calls that waited; each looks again."""
        for each in calls:
            for signal in each:
                signal.set(None)

    # --- being there --------------------------------------------------------------------------------------------------

    async def _keep_open(self) -> None:
        while True:
            try:
                await self._open()
                await self._broken.wait()
            except ValkeyLost as error:
                self._go_away(str(error))
            except Exception:
                log.exception("the Valkey could not be spoken with")
                self._go_away("an internal error")
            await asyncio.sleep(RETRY_S)

    async def _open(self) -> None:
        self._broken.clear()
        connection = await connect(self._settings, lambda: self._go_away("the connection broke"))
        try:
            async with asyncio.timeout(START_S):
                await self._look_at(connection)
                await connection.ask(*[("SCRIPT", "LOAD", text) for text in self._scripts.values()])
                (beat,) = await connection.ask(self._beat())
        except (TimeoutError, ValkeyLost) as error:
            connection.close()
            raise ValkeyLost(str(error) or "it is too slow") from None
        self._connection = connection
        self._epoch = beat[0].decode()
        if self._state == _STARTING:
            self._note_replicas(beat[1])
            self._be_there()
        else:
            self._settle()

    async def _look_at(self, connection: Valkey) -> None:
        """Raises ValkeyLost where it will not do, with the reason."""
        try:
            (info,) = await connection.ask(("INFO",))
        except ValkeyLost:
            if not connection.is_open:
                raise
            return  # it may be forbidden; then what it can't do is seen when it is asked for it
        facts = facts_of(info)
        fault = fault_of(facts, is_cluster_meant=bool(self._settings.cluster))
        if fault:
            raise ValkeyLost(fault)
        warning = warning_of(facts)
        if warning and warning != self._warned:
            log.warning("the Valkey that limits are shared over: %s", warning)
        self._warned = warning

    def _give_up_start(self) -> None:
        if self._state == _STARTING:
            self._go_away("not reached yet")

    def _be_there(self) -> None:
        if self._state != _STARTING:
            log.info("limits are shared over the Valkey again")
        self._is_told_away = False
        self._state = _THERE
        self._leases.is_away = False
        for question in self._questions.values():
            if question.waiting:
                self._tell_soon(question)
        if self._due:
            self._flush()

    def _go_away(self, reason: str) -> None:
        """Keep to the share from now on, until the server answers again."""
        if self._has_ended:
            return
        if not self._is_told_away:
            log.error("the Valkey that limits are shared over is away: %s", reason)
            log.error("this machine keeps to one part in %d of each limit until it is back", self._counters.replicas)
            self._is_told_away = True  # once, however often it is nearly back
        self._state = _AWAY
        self._leases.is_away = True
        self._counters.heard_ms = 0
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()  # what is under way fails, and is told so
        self._broken.set()
        self._due.clear()
        self._set_free([question.release() for question in list(self._questions.values())])

    def _has_forgotten(self) -> None:
        if self._state == _THERE:
            log.error("the Valkey that limits are shared over has lost what it knew; every machine tells it again")
            self._state = _SETTLING
            self._leases.is_away = True
            self._counters.heard_ms = 0
            self._due.clear()
            self._epoch = ""
            self._send([self._beat()], self._heard_beat)
            self._set_free([question.release() for question in list(self._questions.values())])

    def _settle(self) -> None:
        """Say what is used here, and ask for nothing until the others have said so too."""
        self._state = _SETTLING
        self._leases.is_away = True
        self._settling += 1
        self._tell_all(None)
        asyncio.get_running_loop().call_later(SETTLE_S, self._settled, self._settling)

    def _settled(self, turn: int) -> None:
        if self._state == _SETTLING and self._settling == turn:
            self._tell_all(self._be_there)

    def _tell_all(self, then: Callable[[], None] | None) -> None:
        asked, commands = self._ask(list(self._questions.values()), only_tell=True)

        def told(replies: Replies | None) -> None:
            self._answered(asked, 0, replies)
            if then is not None and replies is not None and self._state == _SETTLING:
                then()

        self._send([*commands, ("PING",)], told)

    def _beat(self) -> Command:
        keys = (self._key("epoch"), self._key("replicas"))
        return ("EVALSHA", self._hashes["beat"], 2, *keys, self._holder, REPLICA_MS, secrets.token_hex(8))

    def _heard_tick(self, sent_s: float, replies: Replies | None) -> None:
        self._round_trip_s = time.monotonic() - sent_s
        self._heard_beat(replies)

    def _heard_beat(self, replies: Replies | None) -> None:
        if replies is None:
            return
        (beat,) = replies
        if isinstance(beat, ReplyError):
            self._go_away(str(beat))
            return
        epoch, replicas = beat[0].decode(), beat[1]
        if epoch != self._epoch:
            self._has_forgotten()
            self._epoch = epoch
            self._settle()
        elif self._state == _THERE:
            self._note_replicas(replicas)
            self._counters.heard_ms = self._mono_ms()

    def _note_replicas(self, count: int) -> None:
        self._counters.replicas = count
        if count != self._replicas_told:
            self._replicas_told = count
            try:
                self._on_replicas(count)
            except OSError as error:
                log.warning("how many machines share limits could not be written down: %s", error.strerror)

    # --- names --------------------------------------------------------------------------------------------------------

    def _key(self, name: str) -> str:
        return f"{self._settings.namespace}:{name}"

    def _name(self, kind: str, *owner: str) -> str:
        """Of one owner's limit or budget; who it is can't be read from it."""
        digest = hashlib.blake2b("\0".join(owner).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return self._key(f"{kind}:{digest}")

    @staticmethod
    def _mono_ms() -> int:
        return int(time.monotonic() * 1000)
