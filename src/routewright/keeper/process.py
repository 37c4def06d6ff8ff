"""Answers the workers' questions from threads, tells them what has changed, and ends after the last of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from routewright import __version__
from routewright.errors import GatewayError, InternalError, StorageUnavailable
from routewright.keeper import glances
from routewright.keeper.adjusting import Adjusting
from routewright.keeper.alerts import Alerts
from routewright.keeper.operations import OPERATIONS, Tools
from routewright.keeper.spread import Spread
from routewright.settings import JOURNAL_FOLDER
from routewright.storage import (
    Answer,
    Ask,
    Bye,
    Changed,
    FromWorker,
    Hello,
    KeeperSettings,
    Seen,
    Touch,
    Welcome,
    frame,
    read_frame,
    socket_path,
)
from routewright.store.database import Database, SchemaTooNew, sqlite_url
from routewright.store.follower import Follower
from routewright.store.retention import Retention

if TYPE_CHECKING:
    from routewright.keeper.calls import Calls

THREADS = 4
"""Statements at one time; a slow report leaves room for a key that is looked up."""
ALONE_S = 10.0
"""How long to stay without any worker: one that was killed has a successor soon."""
SPREAD_WAIT_S = 1.0
LAST_WORDS_S = 5.0
"""For the last records to reach the ledger; what does not is in the journal still, for the next start."""
RETRY_S = 1.0
GC_THRESHOLDS = (20_000, 20, 20)
log = logging.getLogger("routewright")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(FromWorker).decode


class Worker:
    """One worker's connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.version = ""
        self.seen = 0
        self.moved = asyncio.Event()

    def send(self, data: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(data)


class Keeper:
    """The process."""

    def __init__(self, settings: KeeperSettings, run_dir: Path) -> None:
        self._settings = settings
        self._fingerprint = settings.fingerprint()
        self._socket = socket_path(run_dir)
        self._database = Database(settings.database_url or sqlite_url(Path(settings.data_dir)))
        self._follower = Follower(self._database, Path(settings.data_dir) / JOURNAL_FOLDER)
        self._follow_until = threading.Event()
        self._following = threading.Thread(target=self._follower.run, args=(self._follow_until,), name="ledger")
        now = settings.adjustable
        self._retention = Retention(self._database, now.spend_kept_ms, now.prompts_kept_ms)
        self._alerts = Alerts(now.alert_url)
        adjusting = Adjusting(now, self._alerts, self._retention)
        self._tools = Tools(self._database, settings, self._follower, self._alerts, adjusting)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="store")
        self._patient = ThreadPoolExecutor(glances.THREADS, thread_name_prefix="pages", initializer=glances.stand_back)
        self._workers: set[Worker] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._spread = Spread(self._database, self._broadcast, self._touch)
        self._calls: Calls | None = None
        if settings.valkey is not None:
            # Imported where there is a Valkey: its client's reader is an extra.
            from routewright.keeper.calls import Calls, valkey_of

            self._calls = Calls(valkey_of(settings.valkey), self._spread.wake)
        self._is_ready = asyncio.Event()
        self._was_tried = asyncio.Event()
        """The database has been reached, or could not be: a question that comes before that waits."""
        self._ended = asyncio.Event()
        self._had_worker = False
        self._alone_since_s = time.monotonic()

    async def run(self) -> None:
        """Until the last worker has ended."""
        with contextlib.suppress(FileNotFoundError):
            self._socket.unlink()
        server = await asyncio.start_unix_server(self._serve, str(self._socket))
        self._socket.chmod(0o600)
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._parent_ended)
        tasks = [asyncio.create_task(self._open()), asyncio.create_task(self._end_when_alone())]
        if self._calls is not None:
            tasks.append(asyncio.create_task(self._calls.run()))
        try:
            await self._ended.wait()
        finally:
            server.close()
            with contextlib.suppress(FileNotFoundError):
                self._socket.unlink()
            for task in (*tasks, *self._tasks):
                task.cancel()
            await asyncio.gather(*tasks, *self._tasks, return_exceptions=True)
            self._threads.shutdown(wait=True)
            self._patient.shutdown(wait=True)
            self._retention.stop()
            self._alerts.stop()
            if self._following.is_alive():
                self._follow_until.set()
                self._following.join(LAST_WORDS_S)
            self._database.close()

    async def _open(self) -> None:
        """Bring the tables up to date, however long the database takes to come, and listen for changes from then on."""
        loop = asyncio.get_running_loop()
        was_told = False
        while True:
            try:
                await loop.run_in_executor(self._threads, self._database.migrate)
                break
            except SchemaTooNew as error:
                log.error("%s", error)
                self._was_tried.set()
                await asyncio.sleep(60 * RETRY_S)
            except Exception as error:  # noqa: BLE001 - whatever a driver raises, the next try may do
                if not was_told:
                    log.error("the database can't be reached (%s); trying again", type(error).__name__)
                    was_told = True
                self._was_tried.set()
                await asyncio.sleep(RETRY_S)
        # As in a worker: what is loaded by now need not be looked at again, and a batch of rows leaves no cycle behind.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        self._following.start()
        self._retention.start()
        await self._spread.begin()
        self._is_ready.set()
        self._was_tried.set()
        if was_told:
            log.info("the database is there")
        await self._spread.run()

    def _parent_ended(self) -> None:
        """Standard input has ended. One that ended before its worker could even say hello has no use for this."""
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        if not self._had_worker:
            self._ended.set()

    async def _end_when_alone(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            if not self._workers and time.monotonic() - self._alone_since_s > ALONE_S:
                self._ended.set()

    # --- workers --------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        worker = Worker(writer)
        is_bye = False
        try:
            hello = _decode(await read_frame(reader))
            if not isinstance(hello, Hello):
                return
            writer.write(frame(Welcome(self._fingerprint)))
            if hello.fingerprint != self._fingerprint:
                if not self._workers:
                    self._ended.set()
                else:
                    log.error("a gateway with other settings wants this data folder's store; it is in use")
                await writer.drain()
                return
            worker.version = hello.version
            self._workers.add(worker)
            self._had_worker = True
            worker.send(frame(Touch(self._spread.is_connected, self._follower.followed())))
            if self._is_ready.is_set():
                self._catch_up(worker, hello.seen)
            else:
                self._spread.on_begin.append(lambda: self._catch_up(worker, hello.seen))
            while True:
                message = _decode(await read_frame(reader))
                if isinstance(message, Ask):
                    task = asyncio.create_task(self._answer(message, worker))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                elif isinstance(message, Seen):
                    worker.seen = max(worker.seen, message.up_to)
                    worker.moved.set()
                elif isinstance(message, Bye):
                    is_bye = True
                    break
        except (OSError, EOFError, ValueError, msgspec.DecodeError):
            pass  # a worker that was killed
        except asyncio.CancelledError:
            pass  # this process ends; asyncio would log a connection's task that says so
        finally:
            self._workers.discard(worker)
            writer.close()
            if not self._workers:
                self._alone_since_s = time.monotonic()
                if is_bye:
                    self._ended.set()
            elif all(other.version != __version__ for other in self._workers):
                # An upgrade is over: those that are left start the store's process anew, from their own version.
                self._ended.set()

    def _catch_up(self, worker: Worker, seen: int) -> None:
        """Tell a worker what has changed since it last heard of anything."""
        up_to, found = self._spread.since(seen)
        if found or not seen:
            worker.send(frame(Changed(up_to, found)))

    async def _answer(self, ask: Ask, worker: Worker) -> None:
        try:
            operation = OPERATIONS.get(ask.what)
            if operation is None:
                raise InternalError("the store's process has no such operation")
            if operation.needs_database:
                await self._was_tried.wait()
                if not self._is_ready.is_set():
                    raise StorageUnavailable("the database can't be reached now; try again")
            loop = asyncio.get_running_loop()
            threads = self._patient if operation.is_patient else self._threads
            body = await loop.run_in_executor(threads, operation.run, self._tools, ask.body)
            if operation.changes:
                if self._calls is not None:
                    self._calls.call()
                await self._spread_now()
            answer = Answer(ask.number, msgspec.Raw(_encode(body)))
        except GatewayError as error:
            answer = Answer(ask.number, error=(type(error).__name__, error.message))
        except Exception:
            log.exception("the store could not do %s", ask.what)
            answer = Answer(ask.number, error=("InternalError", "internal error; the log says more"))
        worker.send(frame(answer))

    async def _spread_now(self) -> None:
        """Return when every worker here has acted on all that is committed by now, or has had its time."""
        try:
            up_to = await self._spread.look()
        except StorageUnavailable:
            return  # it is committed; whoever polls next sees it
        end_s = time.monotonic() + SPREAD_WAIT_S
        for worker in list(self._workers):
            while worker.seen < up_to and worker in self._workers and time.monotonic() < end_s:
                worker.moved.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(worker.moved.wait(), end_s - time.monotonic())

    def _broadcast(self, changed: Changed) -> None:
        data = frame(changed)
        for worker in self._workers:
            worker.send(data)

    def _touch(self, is_connected: bool) -> None:
        data = frame(Touch(is_connected, self._follower.followed()))
        for worker in self._workers:
            worker.send(data)
