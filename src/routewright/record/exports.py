"""Everybody who is told of requests after their end, each with an outbox of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from routewright.logs import is_terminal, write
from routewright.record.access_log import AccessLog
from routewright.record.delivery import Receiver
from routewright.record.langfuse import Langfuse
from routewright.record.objects import Objects
from routewright.record.otlp import OtlpJson, OtlpProtobuf
from routewright.record.outbox import Outbox
from routewright.record.spans import TRACED, spans_of
from routewright.settings import ExportSettings, LogSettings, TraceSettings

FAREWELL_S = 2.0
"""What a stop waits for receivers."""
OBJECT_LINES, OBJECT_LINGER_S = 5000, 10.0
"""Objects are few and large; batches of posts are small and soon."""
LOG_PATIENCE_S = 1.0
"""A pipe holds some sixty lines, and is full until its reader has had its turn."""
LOG_LINES = 1024
TRACE_LINES = 512
"""As OpenTelemetry's own exporters have it: a post costs as much as ten traces."""
TRACES_AT_ONCE, TO_THE_LOOP_S = 8, 0.00005
"""Python lets another thread go on after 5 ms, or when one waits; a sleep of no length ends before it is awake."""
TRACES = "otel"
_INFO = ("DEBUG", "INFO")
_FAILED = b'"error_code":"'


class Exports:
    """What the journal's lines go to beside the disk."""

    def __init__(self, count: Callable[[str, int, int], None]) -> None:
        """`count` is told how many records went to a receiver, and how many were lost, since the last time."""
        self._count = count
        self._outboxes: dict[object, Outbox] = {}

    def configure(
        self, logs: LogSettings, exports: Sequence[ExportSettings], traces: TraceSettings | None
    ) -> Callable[[Sequence[bytes]], None] | None:
        """Tell these from now on; receivers that stay as they were keep what waits for them. Returns what takes the
        journal's lines, None where nobody wants any."""
        wanted: dict[object, Callable[[], Outbox]] = {}
        wants_lines = logs.access if logs.access is not None else logs.as_json or is_terminal()
        if wants_lines and logs.level in _INFO:
            wanted["access_log", logs.as_json] = partial(_access_log, logs)
        for each in exports:
            wanted[each] = partial(_export, each)
        if traces is not None:
            wanted[traces] = partial(_traces, traces)
        for gone in self._outboxes.keys() - wanted.keys():
            self._outboxes.pop(gone).close(0.0)
        for key, make in wanted.items():
            if key not in self._outboxes:
                self._outboxes[key] = make()
        offers = [partial(_offer_traced, box) if box.name == TRACES else box.offer for box in self._outboxes.values()]
        if not offers:
            return None
        return offers[0] if len(offers) == 1 else partial(_offer_all, offers)

    def on_tick(self) -> None:
        for box in self._outboxes.values():
            sent, lost = box.on_tick()
            if sent or lost:
                self._count(box.name, sent, lost)

    def waiting_bytes(self) -> Iterator[tuple[str, int]]:
        """What each receiver has still to get."""
        for box in self._outboxes.values():
            yield box.name, box.waiting_bytes

    def close(self) -> None:
        for box in self._outboxes.values():
            box.close(FAREWELL_S)
        self.on_tick()


def _offer_all(offers: Sequence[Callable[[Sequence[bytes]], None]], lines: Sequence[bytes]) -> None:
    for offer in offers:
        offer(lines)


def _offer_traced(box: Outbox, lines: Sequence[bytes]) -> None:
    """Only what was sampled goes into the queue."""
    traced = [line for line in lines if TRACED in line]
    if traced:
        box.offer(traced)


def _access_log(logs: LogSettings) -> Outbox:
    log = AccessLog(write_all, as_json=logs.as_json, is_coloured=is_terminal())
    return Outbox("access_log", log.send, batch_lines=LOG_LINES)


def write_all(data: bytes) -> None:
    """To standard error. Raises ConnectionError while nobody reads there."""
    if not write(data, LOG_PATIENCE_S):
        raise ConnectionError("standard error takes no more lines")


def _export(settings: ExportSettings) -> Outbox:
    headers = {name: secret.reveal() for name, secret in settings.headers}
    if settings.kind == "objects":
        store: list[Objects] = []
        options = {name: secret.reveal() for name, secret in settings.options}

        def put(records: Sequence[bytes]) -> None:
            if not store:  # made by the thread: some stores are asked for their address
                store.append(Objects(settings.url, options))
            store[0].send(records)

        send = _ended(settings, put)
        return Outbox(settings.name, send, batch_lines=OBJECT_LINES, linger_s=OBJECT_LINGER_S)
    receiver = Receiver(settings.url, headers)
    if settings.kind == "langfuse":
        return Outbox(settings.name, _ended(settings, Langfuse(receiver.post).send), close=receiver.close)

    def post(records: Sequence[bytes]) -> None:
        receiver.post(b"[%b]" % b",".join(records), "application/json")

    return Outbox(settings.name, _ended(settings, post), close=receiver.close)


def _ended(settings: ExportSettings, send: Callable[[Sequence[bytes]], None]) -> Callable[[Sequence[bytes]], None]:
    """`send` of the records whose ends are wanted."""
    if settings.wants_success and settings.wants_failure:
        return send

    def some(records: Sequence[bytes]) -> None:
        chosen = [each for each in records if (_FAILED in each) == settings.wants_failure]
        if chosen:
            send(chosen)

    return some


def _traces(settings: TraceSettings) -> Outbox:
    receiver = Receiver(settings.url, {name: secret.reveal() for name, secret in settings.headers})
    otlp = OtlpProtobuf(settings.resource) if settings.is_protobuf else OtlpJson(settings.resource)

    def send(records: Sequence[bytes]) -> None:
        spans: list[bytes] = []
        for at, record in enumerate(records):
            spans += [otlp.span(span) for span in spans_of(record)]
            if at % TRACES_AT_ONCE == TRACES_AT_ONCE - 1:
                time.sleep(TO_THE_LOOP_S)
        if spans:
            receiver.post(otlp.joined(spans), otlp.content_type)

    return Outbox(TRACES, send, batch_lines=TRACE_LINES, close=receiver.close)
