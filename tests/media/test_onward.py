"""Bodies on their way: whatever the other end takes when, all of it arrives once, in its order, and then its end.

Each kind is driven by a script of who may go on when: a client that sends in pieces of its own, an upstream that takes
no more and takes more again at any moment, also within the call that hands it a piece.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from routewright.carriage.form import Form
from routewright.carriage.onward import Onward
from routewright.carriage.peek import Peek
from routewright.errors import FrontError, GatewayError
from routewright.objects.lines import BatchLines
from routewright.objects.upload import FileUpload
from routewright.server.upload import Upload
from routewright.settings import FrontLimits
from routewright.types import Group
from values import deployment

BOUNDARY = b"xYz"


def field(name: str, value: str) -> bytes:
    return f'--xYz\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def file(content: bytes) -> bytes:
    return b'--xYz\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n%b\r\n' % content


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--xYz--\r\n"


class Client:
    """Sends while it is read."""

    def __init__(self, body: bytes, pieces: int, rng: random.Random) -> None:
        self.is_read = False
        self.upload = Upload(self, len(body), FrontLimits())
        cuts = sorted(rng.randrange(len(body)) for _ in range(pieces - 1))
        self._pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]

    def set_reading(self, is_wanted: bool) -> None:
        self.is_read = is_wanted

    @property
    def is_done(self) -> bool:
        return not self._pieces

    def send(self) -> None:
        self.upload.feed(self._pieces.pop(0))


class Upstream:
    """Takes what it is sent, and sometimes no more for a while."""

    def __init__(self, body: Onward, rng: random.Random, *, is_hasty: bool) -> None:
        """`is_hasty`: it may say so, and take it back, before the call that hands it a piece has returned."""
        self.taken = b""
        self.ends = 0
        self.is_blocked = False
        self.error: GatewayError | None = None
        self._body, self._rng, self._is_hasty = body, rng, is_hasty

    def take(self, data: bytes, is_last: bool) -> None:
        assert not self.ends, "something came after the end"
        self.taken += data
        self.ends += is_last
        if is_last:
            return  # as a connection does: nothing is to be held back any more
        if not self.is_blocked and self._rng.random() < 0.5:
            self.is_blocked = True
            self._body.pause()
            if self._is_hasty and self._rng.random() < 0.5:
                self.go_on()

    def go_on(self) -> None:
        self.is_blocked = False
        self._body.resume()

    def failed(self, error: GatewayError) -> None:
        self.error = error


CONTENT = bytes(random.Random(7).randrange(256) for _ in range(3000)) * 300
LINE = b'{"custom_id":"r","method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":[{"role":' \
       b'"user","content":"%b"}]}}\n'  # fmt: skip
LINES = LINE % b"first" + LINE % (b"x" * 3000) + LINE % (b"long" * 100_000) + LINE.strip() % b"last"


def model_form(folder: Path, upload: Upload) -> Onward:
    made = Form(upload, BOUNDARY, folder)
    made.is_for("m", {})
    return made


def file_upload(folder: Path, upload: Upload) -> Onward:
    place = deployment(upstream_model="m")
    made = FileUpload(upload, BOUNDARY, folder, BatchLines(lambda name: Group(name, "chat", [place])))
    made.is_for(place)
    return made


Make = Callable[[Path, Upload], Onward]
KINDS: dict[str, tuple[Make, bytes, bytes]] = {
    "form": (model_form, form(field("model", "m"), field("a", "1"), file(CONTENT), field("b", "2")), CONTENT),
    "form, model last": (model_form, form(field("a", "1"), file(CONTENT), field("model", "m")), CONTENT),
    "file": (file_upload, form(field("purpose", "vision"), file(CONTENT), field("b", "2")), CONTENT),
    "file, purpose last": (file_upload, form(file(CONTENT), field("purpose", "vision")), CONTENT),
    "batch": (file_upload, form(field("purpose", "batch"), file(LINES)), b"long" * 100_000),
    "batch, purpose last": (file_upload, form(file(LINES), field("purpose", "batch")), b"long" * 100_000),
    "peeked": (lambda folder, upload: Peek(upload, folder), CONTENT, CONTENT),
}


def carried(kind: str, folder: Path, seed: int, *, is_hasty: bool, opens: str) -> Upstream:
    """`opens`: when the upstream's connection is there: `at once` when it is known where it goes, or `late`."""
    make, sent, _ = KINDS[kind]
    rng = random.Random(seed)
    client = Client(sent, rng.randrange(1, 30), rng)
    body = make(folder, client.upload)
    upstream = Upstream(body, rng, is_hasty=is_hasty)
    body.start()
    is_open = False
    idle = 0
    while not upstream.ends and upstream.error is None:
        moves: list[Callable[[], None]] = []
        if client.is_read and not client.is_done:
            moves.append(client.send)
        if upstream.is_blocked:
            moves.append(upstream.go_on)
        if body.ready.is_set and not is_open and (not moves or opens == "at once"):
            if rng.random() < 0.3:  # the head alone may be more than it takes
                upstream.is_blocked = True
                body.pause()
            is_open = True
            body.open(upstream.take, upstream.failed)
            continue
        assert moves, f"nobody goes on: seed {seed}"
        rng.choice(moves)()
        idle += 1
        assert idle < 10_000
    body.close()
    assert upstream.error is None, upstream.error.message
    return upstream


@pytest.mark.parametrize("is_hasty", [False, True])
@pytest.mark.parametrize("opens", ["at once", "late"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_of_a_body_arrives_once_whoever_is_slow(kind: str, opens: str, is_hasty: bool, tmp_path: Path) -> None:
    wanted = KINDS[kind][2]
    sizes = set()
    for seed in range(6):
        upstream = carried(kind, tmp_path, seed, is_hasty=is_hasty, opens=opens)
        assert upstream.ends == 1
        assert upstream.taken.count(wanted) == 1
        sizes.add(len(upstream.taken))
    assert len(sizes) == 1  # the same whatever way it went
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("waits", ["held back", "waited for"])
def test_only_a_client_that_was_waited_for_is_too_slow(waits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was not read for five seconds, since nobody took more, may have sent nothing in the last millisecond."""
    now = 100.0
    monkeypatch.setattr("routewright.server.upload.time.monotonic", lambda: now)
    client = Client(b"x" * 100_000, 1, random.Random(1))
    failures: list[GatewayError] = []
    client.upload.open(lambda data, is_last: None, failures.append)
    if waits == "held back":
        client.upload.pause()
    now += 4.999
    client.upload.resume()
    now += 0.001
    client.upload.check_pace()
    assert len(failures) == (waits == "waited for")
    assert all(isinstance(error, FrontError) and error.status == 408 for error in failures)
