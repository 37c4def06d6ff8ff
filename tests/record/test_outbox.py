"""What waits for a receiver is bounded, goes out in order, and stops nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from harness.gateway import eventually
from harness.receiver import Receiver
from routewright.record.delivery import Receiver as Target
from routewright.record.outbox import Outbox, Undeliverable


class Somebody:
    """Takes batches; does what it is told first."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.does: Callable[[], None] = lambda: None

    def send(self, batch: Sequence[bytes]) -> None:
        self.does()
        self.batches.append(list(batch))

    @property
    def lines(self) -> list[bytes]:
        return [line for batch in self.batches for line in batch]


@pytest.fixture
def somebody() -> Somebody:
    return Somebody()


@pytest.fixture
def outbox(somebody: Somebody) -> Iterator[Outbox]:
    made = Outbox("somebody", somebody.send, most_bytes=10_000, first_pause_s=0.01)
    yield made
    made.close(0.1)


def fails() -> None:
    raise ConnectionRefusedError("nobody there")


def test_lines_go_out_in_order_at_the_next_tick(outbox: Outbox, somebody: Somebody) -> None:
    sent = [b"%d" % number for number in range(500)]
    for line in sent:
        outbox.offer([line])
    assert somebody.batches == []
    outbox.on_tick()
    eventually(lambda: len(somebody.lines) == 500)
    assert somebody.lines == sent
    assert max(map(len, somebody.batches)) <= 64
    eventually(lambda: outbox.waiting_bytes == 0)


def test_nothing_is_started_for_who_has_nothing_to_say(outbox: Outbox) -> None:
    before = threading.active_count()
    assert outbox.on_tick() == (0, 0)
    assert threading.active_count() == before


def test_oldest_make_room_for_the_newest_and_are_counted(outbox: Outbox, somebody: Somebody) -> None:
    """A batch that is on its way stays; of what waits behind it the oldest go, so the end of an outage is seen."""
    somebody.does = fails
    outbox.offer([b"on its way".ljust(1000)])
    lost = outbox.on_tick()[1]
    eventually(lambda: not outbox._lines)
    for number in range(100):
        outbox.offer([b"%d" % number + b"x" * 998])
    assert outbox.waiting_bytes <= 10_000
    outbox.offer([b"longer than everything" * 1000])
    lost += outbox.on_tick()[1]
    somebody.does = lambda: None
    eventually(lambda: len(somebody.lines) >= 10)
    assert [line.rstrip(b"x ") for line in somebody.lines] == [
        b"on its way",
        *(b"%d" % each for each in range(91, 100)),
    ]
    outbox.offer([b"later"])
    assert lost + outbox.on_tick()[1] == 91 + 1
    eventually(lambda: somebody.lines[-1] == b"later")
    eventually(lambda: outbox.waiting_bytes == 0)


def test_batch_that_failed_is_sent_again_whole_and_once(outbox: Outbox, somebody: Somebody) -> None:
    failures = iter([fails, fails])
    somebody.does = lambda: next(failures, lambda: None)()
    outbox.offer([b"a", b"b"])
    outbox.on_tick()
    eventually(lambda: somebody.batches == [[b"a", b"b"]])


def test_refused_batch_is_not_sent_again(outbox: Outbox, somebody: Somebody) -> None:
    def refuses() -> None:
        raise Undeliverable("refused with 400")

    somebody.does = refuses
    outbox.offer([b"a"])
    outbox.on_tick()
    eventually(lambda: outbox.waiting_bytes == 0)
    somebody.does = lambda: None
    outbox.offer([b"b"])
    assert outbox.on_tick()[1] == 1
    eventually(lambda: somebody.lines == [b"b"])


def test_end_sends_what_waits_and_waits_no_longer_than_it_was_told(somebody: Somebody) -> None:
    quick = Outbox("quick", somebody.send)
    quick.offer([b"last words"])
    quick.close(5.0)
    assert somebody.lines == [b"last words"]
    stuck_until = threading.Event()
    stuck = Outbox("stuck", lambda batch: stuck_until.wait(30) and None)
    stuck.offer([b"never"])
    began = time.monotonic()
    stuck.close(0.1)
    assert time.monotonic() - began < 10
    stuck_until.set()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def target(receiver: Receiver) -> Iterator[Target]:
    made = Target(receiver.url + "/x?y=1", {"authorization": "secret"})
    yield made
    made.close()


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_receiver_s_trouble_is_worth_another_try(receiver: Receiver, target: Target, status: int) -> None:
    receiver.status = status
    with pytest.raises(ConnectionError, match=str(status)):
        target.post(b"{}", "application/json")
    receiver.status = 200
    target.post(b"{}", "application/json")
    (post,) = receiver.posts
    assert (post.path, post.headers["authorization"]) == ("/x?y=1", "secret")


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 413])
def test_refusal_and_redirect_are_final(receiver: Receiver, target: Target, status: int) -> None:
    """A redirect is not followed: the credential is for this address alone."""
    receiver.status = status
    with pytest.raises(Undeliverable, match=str(status)):
        target.post(b"{}", "application/json")


def test_kept_connection_that_was_closed_at_the_other_end_is_no_failure(receiver: Receiver, target: Target) -> None:
    target.post(b"1", "text/plain")
    assert target._connection is not None
    target._connection.sock.shutdown(2)  # type: ignore[attr-defined]
    target.post(b"2", "text/plain")
    assert [post.body for post in receiver.posts] == [b"1", b"2"]
