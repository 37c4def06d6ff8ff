"""A worker's line to the store: its process is started when it is needed, asked without waiting, and listened to.

SQLAlchemy, database drivers and whatever a slow database does stay out of the worker: the store lives in one process
beside all workers of a data folder, behind a socket in `run/`. Frames are four bytes of length, then msgpack.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import stat
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from routewright import __version__
from routewright.errors import GatewayError, StorageUnavailable
from routewright.grants import Change
from routewright.settings import JOURNAL_FOLDER, STORED_MARK
from routewright.store_process import StoreProcess

MAX_FRAME_BYTES = 64 * 1024 * 1024
ASK_TIMEOUT_S = 10.0
SILENT_S = 6.0
"""A process that reaches its database speaks every two seconds at least; one that does not for so long hangs."""
SILENT_TIMEOUT_S = 1.0
"""Nobody waits for longer for one that says nothing anyway."""
MAX_ASKED = 1000
"""Questions under way; beyond it they are refused, so that a flood of unknown keys holds no memory."""
RETRY_S, CALM_RETRY_S = 0.05, 1.0
CALM_AFTER_S = 5.0
"""Its process starts within a second or two, and a request may wait for that; one that takes longer is in trouble."""
NOBODY = 0
"""Number of a question whose answer nobody waits for."""
SOCKET_NAME = "store.sock"
MAX_SOCKET_PATH = 100
log = logging.getLogger("routewright")


class Adjustable(msgspec.Struct, frozen=True, kw_only=True):
    """What the store's process takes anew while it runs."""

    alert_url: str | None = None
    """Where crossed budgets are told."""
    spend_kept_ms: int | None = None
    """How long single calls stay in the ledger; None: for good."""
    prompts_kept_ms: int | None = None
    """The same of what was asked and answered in them."""
    read_at_ms: int = 0
    """Wall clock, set by whoever has read it. What a worker on its way out still goes by replaces nothing newer."""


class KeeperSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the store's process is told over its standard input; nobody else can read that."""

    data_dir: str
    database_url: str | None = None
    """None: SQLite in `data_dir`."""
    master_key: str | None = None
    adjustable: Adjustable = Adjustable()
    salt: str | None = None
    """Seals the credentials of stored models; the master key where it is None, as with LiteLLM."""

    valkey: dict[str, Any] | None = None
    """`ValkeySettings`, where several machines share the database."""

    def fingerprint(self) -> str:
        """The same in two processes that would do the same, once they are told what can be told."""
        lasting = msgspec.structs.replace(self, adjustable=Adjustable())
        return hashlib.sha256(msgspec.msgpack.encode(lasting)).hexdigest()[:32]


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """A budget that was crossed, as a worker tells it."""

    event: str
    """`soft_budget_crossed` or `budget_crossed`."""
    scope: str
    owner: str
    spent_nusd: int
    budget_nusd: int | None
    soft_budget_nusd: int | None
    window_end_ms: int
    """0: never."""


class ConfigWrite(msgspec.Struct, frozen=True, kw_only=True):
    """Settings to change while serving; without `writes` only who asks is looked at."""

    key_hash: str
    is_master: bool
    request_id: str | None
    seen: dict[str, dict[str, Any]]
    """What was changed before, as the caller saw it: section -> name -> value."""
    writes: list[tuple[str, str, Any]]
    """Section, name and value; None: as the file has it."""


class ManageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request of the management API, after the front has found its endpoint and its key."""

    endpoint: str
    method: str
    named: str | None
    """The name in the middle of the path, not decoded."""
    query: str
    body: bytes
    key_hash: str
    is_master: bool
    request_id: str


class ManageReply(msgspec.Struct, frozen=True):
    """Its answer: status, headers and body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


# --- frames --------------------------------------------------------------------------------------------------------


class Hello(msgspec.Struct, tag="hello"):
    """First frame of a worker."""

    fingerprint: str
    seen: int = 0
    """The last change it knows of; 0 for one that keeps nothing yet."""
    version: str = ""
    """Of the program. While one version hands over to another, the store's process serves workers of both."""


class Ask(msgspec.Struct, tag="ask"):
    """A question; `what` names one of the operations of the store's process."""

    number: int
    what: str
    body: msgspec.Raw = msgspec.Raw(b"\xc0")


class Seen(msgspec.Struct, tag="seen"):
    """The worker has acted on every change up to this one."""

    up_to: int


class Bye(msgspec.Struct, tag="bye"):
    """The worker ends, and will not come back."""


class Welcome(msgspec.Struct, tag="welcome"):
    """First frame to a worker. With another fingerprint than its own the process is about to end."""

    fingerprint: str


class Answer(msgspec.Struct, tag="answer"):
    """What `number` asked for, or the error in place of it."""

    number: int
    body: msgspec.Raw = msgspec.Raw(b"\xc0")
    error: tuple[str, str] | None = None
    """Name of a class in `errors`, and its message."""


class Changed(msgspec.Struct, tag="changed"):
    """What is no longer as it was."""

    up_to: int
    changes: list[Change]


class Touch(msgspec.Struct, tag="touch"):
    """Whether the database answers now; sent when that changes, and once a second while it does."""

    is_connected: bool
    followed: dict[str, int] = {}
    """How many bytes of each journal file are in the ledger."""


FromWorker = Hello | Ask | Seen | Bye
FromKeeper = Welcome | Answer | Changed | Touch
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(FromKeeper).decode


def frame(message: FromWorker | FromKeeper) -> bytes:
    """A message as it travels."""
    body = _encode(message)
    return len(body).to_bytes(4, "big") + body


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next message's bytes. Raises asyncio.IncompleteReadError at the end, ValueError for an absurd length."""
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes")
    return await reader.readexactly(length)


def socket_path(run_dir: Path, name: str = SOCKET_NAME) -> Path:
    """Where the store's process listens, or another beside it by its `name`.

    A path too long for a socket is replaced by one in the user's own folder.
    """
    path = run_dir / name
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    folder = Path(tempfile.gettempdir()) / f"routewright-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} belongs to somebody else")
    return folder / f"{hashlib.sha256(os.fsencode(run_dir.resolve() / name)).hexdigest()[:32]}.sock"


# --- the worker's side ---------------------------------------------------------------------------------------------


def _stamped(adjustable: Adjustable) -> Adjustable:
    return msgspec.structs.replace(adjustable, read_at_ms=int(time.time() * 1000))


class _LineBroke(Exception):
    """Its process ended before it answered; what was asked may have been done."""


class Storage:
    """The line. `ask` answers or raises; what changes is told to `on_changed`, and missed changes are made up for."""

    def __init__(self, settings: KeeperSettings, run_dir: Path) -> None:
        self._settings = msgspec.structs.replace(settings, adjustable=_stamped(settings.adjustable))
        self._run_dir = run_dir
        self._fingerprint = settings.fingerprint()
        self.is_wanted = settings.database_url is not None or self._has_mark()
        """Something may be stored: a key that is not in memory has to be asked for."""
        self.is_connected = False
        """The database answered lately."""
        self.was_connected = False
        """It has answered since this worker started, so what is in memory is whole."""
        self.touched_s = 0.0
        """Monotonic time of its last sign of life."""
        self._is_silent = False
        self.followed: dict[str, int] = {}
        """How much of each journal file was in the ledger then."""
        self.on_changed: list[Callable[[list[Change]], Awaitable[None]]] = []
        self.on_gone: Callable[[], None] = lambda: None
        """Called at each tick while the database has not answered for `grace_s`."""
        self.grace_s = 300.0
        self._seen = 0
        self._acting = asyncio.Lock()
        self._numbers = 0
        self._waiting: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._opened = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.process = StoreProcess(run_dir)
        """Where this worker starts it."""
        self._looked_s = 0.0
        self._is_closing = False

    def start(self) -> None:
        """Called on the loop that the worker serves on."""
        if self.is_wanted:
            self.run()

    def want(self) -> None:
        """Something may be stored from now on."""
        self.is_wanted = True
        self.run()

    def run(self) -> None:
        """Have the process running from now on, if only for the ledger."""
        if self._task is None and not self._is_closing:
            self._task = asyncio.get_running_loop().create_task(self._keep_open())

    @property
    def journal_folder(self) -> Path:
        """Whose records its process brings into the ledger."""
        return Path(self._settings.data_dir) / JOURNAL_FOLDER

    @property
    def is_away(self) -> bool:
        """Somebody needs the database, and it does not answer."""
        return self._task is not None and not self.is_connected

    def adjust(self, adjustable: Adjustable) -> None:
        """Have the process work by these from now on, the one that runs and those that follow it."""
        told = self._settings.adjustable
        if msgspec.structs.replace(adjustable, read_at_ms=told.read_at_ms) == told:
            return
        self._settings = msgspec.structs.replace(self._settings, adjustable=_stamped(adjustable))
        if self._writer is not None:
            self._tell_adjustable(self._writer)

    def _tell_adjustable(self, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(Ask(NOBODY, "adjust", msgspec.Raw(_encode(self._settings.adjustable)))))

    def on_tick(self, now: float) -> None:
        """A mark that somebody else has made means that there may be keys; a silent database, that they are old."""
        self.process.reap()
        if not self.is_wanted and now - self._looked_s >= 1.0:
            self._looked_s = now
            if self._has_mark():
                self.want()
        if self.is_connected and now - self.touched_s > SILENT_S:
            self.is_connected, self._is_silent = False, True
            log.error("the store's process says nothing any more; what is in memory goes on without it")
        if self.was_connected and now - self.touched_s > self.grace_s:
            self.on_gone()

    def may_hold_keys(self) -> bool:
        """Whether a key that is not in memory is worth a question. Another worker may just have begun to store."""
        if not self.is_wanted and self._has_mark():
            self.want()
        return self.is_wanted

    def _has_mark(self) -> bool:
        return (Path(self._settings.data_dir) / STORED_MARK).exists()

    async def ask(
        self, what: str, body: Any = None, *, timeout_s: float = ASK_TIMEOUT_S, is_repeatable: bool = True
    ) -> msgspec.Raw:
        """The answer, still encoded. Raises StorageUnavailable, or the error that the operation ended with.

        `is_repeatable`: where the line breaks before the answer, ask the next process the same.
        """
        if self._is_closing:
            raise StorageUnavailable("the line to the store is closed: this worker ends")
        self.run()
        if len(self._waiting) >= MAX_ASKED:
            raise StorageUnavailable("too many questions to the store are under way; try again")
        end_s = time.monotonic() + timeout_s
        while True:
            try:
                return await self._ask(what, body, end_s)
            except _LineBroke:
                if not is_repeatable or self._is_closing or time.monotonic() >= end_s:
                    raise StorageUnavailable("the store can't be reached now; try again") from None

    async def _ask(self, what: str, body: Any, end_s: float) -> msgspec.Raw:
        if self._writer is None:
            # Its process may be starting.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._opened.wait(), end_s - time.monotonic())
        writer = self._writer
        if writer is None:
            raise StorageUnavailable("the store can't be reached now; try again")
        if self._is_silent:
            end_s = min(end_s, time.monotonic() + SILENT_TIMEOUT_S)
        self._numbers += 1
        number = self._numbers
        answer: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            writer.write(frame(Ask(number, what, msgspec.Raw(_encode(body)))))
            return await asyncio.wait_for(answer, max(0.0, end_s - time.monotonic()))
        except TimeoutError:
            raise StorageUnavailable("the store did not answer in time; try again") from None
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """Tell the process that this worker ends, and end what was started here."""
        self._is_closing = True
        writer = self._writer
        if writer is not None:
            writer.write(frame(Bye()))
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.drain(), 1.0)
        tasks = [task for task in (self._task, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.process.let_go()
        if writer is None:
            # Started and not yet spoken with, it ends by itself, having nobody to serve.
            await asyncio.to_thread(self.process.wait)

    # --- the connection -------------------------------------------------------------------------------------------

    async def _keep_open(self) -> None:
        since_s = time.monotonic()
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(socket_path(self._run_dir)))
            except OSError:
                self.process.start(msgspec.json.encode(self._settings))
                is_early = time.monotonic() - since_s < CALM_AFTER_S
                await asyncio.sleep(RETRY_S if is_early else CALM_RETRY_S)
                continue
            self.process.is_there()
            try:
                await self._listen(reader, writer)
            except (OSError, EOFError, ValueError, msgspec.DecodeError) as error:
                if self._is_closing:
                    return
                log.warning("the line to the store broke: %s", type(error).__name__)
            finally:
                self._hang_up(writer)
            since_s = time.monotonic()
            await asyncio.sleep(RETRY_S)

    def _hang_up(self, writer: asyncio.StreamWriter) -> None:
        self._writer = None
        self._opened.clear()
        self.is_connected = self._is_silent = False
        writer.close()
        for answer in list(self._waiting.values()):
            if not answer.done():
                answer.set_exception(_LineBroke())

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(Hello(self._fingerprint, self._seen, __version__)))
        welcome = _decode(await read_frame(reader))
        if not isinstance(welcome, Welcome) or welcome.fingerprint != self._fingerprint:
            return  # it was started with other settings, and ends now; the next one is ours
        self._writer = writer
        self._tell_adjustable(writer)
        self._opened.set()
        while True:
            message = _decode(await read_frame(reader))
            if isinstance(message, Answer):
                self._take(message)
            elif isinstance(message, Touch):
                self.is_connected, self._is_silent = message.is_connected, False
                self.followed = message.followed
                if message.is_connected:
                    self.was_connected = True
                    self.touched_s = time.monotonic()
            elif isinstance(message, Changed):
                task = asyncio.get_running_loop().create_task(self._act_on(message, writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _take(self, message: Answer) -> None:
        answer = self._waiting.get(message.number)
        if answer is None or answer.done():
            return
        if message.error is None:
            answer.set_result(message.body)
        else:
            answer.set_exception(error_of(*message.error))

    async def _act_on(self, message: Changed, writer: asyncio.StreamWriter) -> None:
        async with self._acting:  # one after the other, so that no older answer comes after a newer one
            for react in self.on_changed:
                try:
                    await react(message.changes)
                except StorageUnavailable:
                    log.warning("the store went away while a change of it was taken in")
                except Exception:
                    log.exception("a change of what is stored was not taken in")
        self._seen = max(self._seen, message.up_to)
        if not writer.is_closing():
            writer.write(frame(Seen(message.up_to)))


def error_of(name: str, message: str) -> GatewayError:
    """An error that the store's process named."""
    for kind in _subclasses(GatewayError):
        if kind.__name__ == name:
            try:
                return kind(message)
            except TypeError:
                break
    return StorageUnavailable(message)


def _subclasses(kind: type[GatewayError]) -> list[type[GatewayError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in _subclasses(child))]
