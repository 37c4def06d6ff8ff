"""Vectors of slow features, made in threads: a bounded queue, and a time after which nobody waits for one any more."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from queue import SimpleQueue
from typing import Final, Protocol
from weakref import WeakKeyDictionary

from routewright.routing.features.cheap import cut
from routewright.routing.features.contract import SYSTEM_CHARACTERS, NoVector
from routewright.routing.router import Float32
from routewright.types import Prompt

LIMIT_S: Final = 0.05
"""A request waits this long for its vector, then goes to its route's default model."""
MAX_WAITING: Final = 256
_FAILURES_IN_A_ROW: Final = 3
_LATE_IN_A_ROW: Final = 20
_REST_S: Final = 2.0
"""After so many in a row nothing is asked for so long: requests need not wait for what will not come."""
_REMEMBERED: Final = 2048
"""Vectors kept for each router file's features, the one used longest ago forgotten first."""
_END_S: Final = 1.0
"""What runs gets so long to end; a thread that waits for an endpoint is left to the interpreter, which may cut it."""
_NICENESS: Final = 5
"""The threads yield to the event loop where cores are short: a third of its share. Linux alone has a priority for each
thread."""

# Short words, for ratings and metrics.
TOO_LATE: Final = "no vector within 50 ms"
TOO_MANY: Final = "too many prompts wait for vectors"
FAILED: Final = "no vector could be made"
log = logging.getLogger("routewright")


class Maker(Protocol):
    """What is asked of whoever makes vectors: a route's `Features`, or `Meanings`."""

    @property
    def name(self) -> str: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def n_threads(self) -> int: ...

    def transform(self, prompts: Sequence[Prompt]) -> Float32:
        """float32 (n, n_features). Raises NoVector."""


class _Job:
    __slots__ = ("answer", "deadline_s", "features", "key", "prompt", "then")

    def __init__(
        self,
        features: Maker,
        prompt: Prompt,
        then: Callable[[Float32], object],
        answer: asyncio.Future[Float32 | str],
    ) -> None:
        self.features = features
        self.prompt = prompt
        self.key = _key(prompt)
        self.then = then
        self.answer = answer
        self.deadline_s = time.monotonic() + LIMIT_S


class Vectors:
    """Makes vectors off the event loop, and knows those made lately. Asked and answering on the loop's thread alone."""

    def __init__(self) -> None:
        self._lanes: dict[int, _Lane] = {}
        self._recent: WeakKeyDictionary[Maker, OrderedDict[bytes, Float32]] = WeakKeyDictionary()

    def ask(self, features: Maker, prompt: Prompt, then: Callable[[Float32], object]) -> asyncio.Future[Float32 | str]:
        """The prompt's vector (n_features,), or in a few words why there is none; never an exception, never late.

        then: gets a vector that came too late for the answer.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Float32 | str] = loop.create_future()
        recent = self._recent.get(features)
        if recent is None:
            recent = self._recent[features] = OrderedDict()
        job = _Job(features, prompt, then, answer)
        x = recent.get(job.key)
        if x is not None:
            recent.move_to_end(job.key)
            answer.set_result(x)
            return answer
        lane = self._lanes.get(features.n_threads)
        if lane is None:
            lane = self._lanes[features.n_threads] = _Lane(features.n_threads, self._keep)
        why = lane.take(job, loop)
        if why:
            answer.set_result(why)
        else:
            timer = loop.call_later(LIMIT_S, lane.give_up, job)
            answer.add_done_callback(lambda _: timer.cancel())
        return answer

    def close(self) -> None:
        """End the threads: one that computes while the interpreter goes would be cut off inside its library."""
        for lane in self._lanes.values():
            lane.close()

    def _keep(self, job: _Job, x: Float32) -> None:
        recent = self._recent.get(job.features)
        if recent is not None:
            recent[job.key] = x
            if len(recent) > _REMEMBERED:
                recent.popitem(last=False)


def _key(prompt: Prompt) -> bytes:
    """Of all that a vector can depend on; as long to make whatever the text's length."""
    parts = (cut(prompt.text), prompt.system[:SYSTEM_CHARACTERS], prompt.task[:200])
    flags = f"{prompt.has_tools:d}{prompt.has_images:d}{prompt.wants_json:d}{prompt.system != '':d}"
    digest = blake2b(flags.encode(), digest_size=16)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:%b" % (len(raw), raw))
    return digest.digest()


class _Lane:
    """Jobs and their threads; makers that compute have one thread between them, those that wait have several.

    The newest job is taken first: with more than can be done, first come first served would make every vector just
    after its request stopped waiting for it.
    """

    def __init__(self, n_threads: int, keep: Callable[[_Job, Float32], None]) -> None:
        self._n_threads = n_threads
        self._keep = keep
        self._threads: list[threading.Thread] = []
        self._is_closed = False
        self._jobs: deque[_Job] = deque()
        self._wakes: SimpleQueue[None] = SimpleQueue()
        """One entry for each job ever queued; the job may have been dropped since."""
        self._failures = 0
        self._late = 0
        self._rests_until_s = 0.0

    # --- on the loop ----------------------------------------------------------------------------------------------

    def take(self, job: _Job, loop: asyncio.AbstractEventLoop) -> str:
        """Queue a job, or say why not."""
        now_s = time.monotonic()
        if self._rests_until_s > now_s:
            return FAILED
        jobs = self._jobs
        with suppress(IndexError):  # a thread may take the last one
            while jobs[0].deadline_s <= now_s:
                jobs.popleft()
        if len(jobs) >= MAX_WAITING:
            return TOO_MANY
        if not self._threads:
            for number in range(self._n_threads):
                thread = threading.Thread(target=self._work, args=(loop,), name=f"vectors-{number}", daemon=True)
                self._threads.append(thread)
                thread.start()
        jobs.append(job)
        self._wakes.put(None)
        return ""

    def close(self) -> None:
        self._is_closed = True
        self._jobs.clear()
        for _ in self._threads:
            self._wakes.put(None)
        for thread in self._threads:
            thread.join(_END_S / len(self._threads))

    def give_up(self, job: _Job) -> None:
        """Its time is over."""
        if job.answer.done():
            return
        job.answer.set_result(TOO_LATE)
        self._late += 1
        if self._late >= _LATE_IN_A_ROW:
            self._late = 0
            self._rest(job.features, TOO_LATE)

    def _deliver(self, jobs: list[_Job], made: Float32 | None, why: str) -> None:
        if made is None:
            self._failures += 1
            if self._failures >= _FAILURES_IN_A_ROW:
                self._failures = 0
                self._rest(jobs[0].features, why)
            for job in jobs:
                if not job.answer.done():
                    job.answer.set_result(FAILED)
            return
        self._failures = self._late = 0
        for job, x in zip(jobs, made, strict=True):
            self._keep(job, x)
            if job.answer.done():
                job.then(x)
            else:
                job.answer.set_result(x)

    def _rest(self, features: Maker, why: str) -> None:
        self._rests_until_s = time.monotonic() + _REST_S
        log.warning(
            "features %s: %s, several times in a row; none is made for %d s",
            features.name,
            why,
            _REST_S,
        )

    # --- in a thread ----------------------------------------------------------------------------------------------

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        if sys.platform == "linux":
            with suppress(OSError):
                thread = threading.get_native_id()
                os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS)
        while True:
            self._wakes.get()
            if self._is_closed:
                return
            jobs = self._some()
            if not jobs:
                continue
            features = jobs[0].features
            made: Float32 | None = None
            why = ""
            try:
                made = features.transform([job.prompt for job in jobs])
            except NoVector as error:
                why = str(error)
            except Exception:
                log.exception("features %s failed", features.name)
                why = "failed"
            try:
                loop.call_soon_threadsafe(self._deliver, jobs, made, why)
            except RuntimeError:
                return  # the loop has closed

    def _some(self) -> list[_Job]:
        """The newest job that somebody still waits for, and more for the same features as far as they take them."""
        now_s = time.monotonic()
        jobs: list[_Job] = []
        with suppress(IndexError):
            while not jobs or len(jobs) < jobs[0].features.batch_size:
                job = self._jobs.pop()
                if job.deadline_s <= now_s:
                    continue
                if jobs and job.features is not jobs[0].features:
                    self._jobs.append(job)
                    self._wakes.put(None)
                    break
                jobs.append(job)
        return jobs
