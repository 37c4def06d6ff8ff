"""F17-F19, R34: router files replaced under load. Good ones are taken, bad ones named, and no request fails."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import routewright
from harness.crowd import ask, chat_bytes
from harness.gateway import MASTER_KEY, SMALL_KEY, Gateway, base_config, eventually, running
from harness.upstream import Upstream
from harness.wire import Reply, assert_error
from routewright.routing.container import sign
from routewright.signatures import base64_of, public_of

CORRUPTED = 1000
PROMPTS = ["What is 2 + 2?", "Prove that there are infinitely many primes.", "def f(x): return x", "Grüezi!", ""]


def packaged_artefact() -> Path:
    found = sorted(Path(routewright.__file__).parent.rglob("*.safetensors"))
    assert found, "the package carries no router"
    return found[0]


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artefact") / "router.safetensors"
    path.write_bytes(packaged_artefact().read_bytes())
    return path


@pytest.fixture(scope="module")
def routed(upstream: Upstream, artefact: Path) -> Iterator[Gateway]:
    settings = {
        "routing_strategy": "llmrouter-knn",
        "routing_strategy_args": {"model_path": str(artefact), "hot_reload": True},
    }
    with running(base_config(upstream, router_settings=settings)) as gateway:
        yield gateway


def reload(gateway: Gateway) -> Reply:
    return gateway.request("POST", "/router/reload", key=MASTER_KEY)


def info(gateway: Gateway) -> dict:
    return gateway.request("GET", "/router/info", key=MASTER_KEY).json


def decision(gateway: Gateway, query: str) -> dict:
    return gateway.request("POST", "/router/route", {"query": query}, key=MASTER_KEY).json


@contextmanager
def under_load(gateway: Gateway) -> Iterator[Callable[[], int]]:
    """Four clients that ask `auto` all the time; fails at the end if one answer was not good."""
    stop = threading.Event()
    failures: list[str] = []
    answered = 0

    async def client(number: int) -> None:
        nonlocal answered
        turn = 0
        while not stop.is_set():
            turn += 1
            prompt = PROMPTS[turn % len(PROMPTS)] or "x"
            request = chat_bytes("auto", prompt, f"load-{number}-{turn}", stream=bool(turn % 2))
            try:
                reply = await ask(gateway.port, request)
            except (OSError, AssertionError) as error:
                failures.append(repr(error))
                return
            if reply.status != 200 or not reply.text.startswith("Hello from gpt-4o"):
                failures.append(repr(reply))
            answered += 1
            await asyncio.sleep(0.004)

    async def crowd() -> None:
        await asyncio.gather(*(client(number) for number in range(4)))

    thread = threading.Thread(target=lambda: asyncio.run(crowd()))
    thread.start()
    try:
        yield lambda: answered
    finally:
        stop.set()
        thread.join(60)
    assert not failures, failures[:3]
    assert answered > 20


def test_hundred_reloads_fail_no_request(routed: Gateway, artefact: Path) -> None:
    """R34: 100 reloads under load; each answers only once the new router serves."""
    last = ""
    with under_load(routed):
        for _ in range(100):
            assert reload(routed).status == 200
            now = info(routed)["last_reload"]
            assert now >= last
            last = now


def replace_file(path: Path, content: bytes) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    os.replace(beside, path)


def corrupted(choose: random.Random, good: bytes, number: int) -> bytes:
    """Cut short, bits turned, parts taken out, doubled or overwritten."""
    place = choose.randrange(len(good))
    match number % 8:
        case 0:
            return good[:place]
        case 1:
            return good[:place] + bytes([good[place] ^ (1 << choose.randrange(8))]) + good[place + 1 :]
        case 2:
            return good[:place] + good[place + choose.randrange(1, 5000) :]
        case 3:
            return good[:place] + choose.randbytes(8) + good[place + 8 :] if place + 8 < len(good) else good[:-1]
        case 4:
            return good + choose.randbytes(choose.randrange(1, 100))
        case 5:
            near = choose.randrange(2000)  # the header lies at the front
            return good[:near] + choose.choice([b"\x00", b"\xff", b'"', b"}", b"9"]) + good[near + 1 :]
        case 6:
            return choose.randbytes(choose.randrange(0, 4000))
        case _:
            return choose.randrange(2**40).to_bytes(8, "little") + good[8:]


def test_thousand_corrupted_files_change_nothing(routed: Gateway, artefact: Path) -> None:
    """F17: 409 invalid_artefact, the fault named, the old router goes on, no request fails."""
    good = packaged_artefact().read_bytes()
    replace_file(artefact, good)
    assert reload(routed).status == 200
    before, decided = (
        info(routed)["last_reload"],
        [decision(routed, prompt)["selected_model"] for prompt in PROMPTS[:4]],
    )
    choose = random.Random(3)
    try:
        with under_load(routed):
            for number in range(CORRUPTED):
                content = corrupted(choose, good, number)
                if content == good:
                    continue
                replace_file(artefact, content)
                assert_error(reload(routed), 409, "invalid_artefact", type="invalid_request_error")
        now = info(routed)
        assert now["last_reload"] == before
        assert now["last_error"]
        assert [decision(routed, prompt)["selected_model"] for prompt in PROMPTS[:4]] == decided
    finally:
        replace_file(artefact, good)
    assert reload(routed).status == 200
    assert not info(routed)["last_error"]


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


def make_folder(path: Path) -> None:
    path.mkdir()


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def make_sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 * 1024**3)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_pickle(path: Path) -> None:
    canary = path.parent / "executed"
    path.write_bytes(b"cposix\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR.")


def make_nothing(path: Path) -> None:
    """The file is gone."""


@pytest.mark.parametrize(
    "make",
    [make_empty, make_folder, make_loop, make_dangling, make_sparse, make_pipe, make_pickle, make_nothing],
    ids=lambda make: make.__name__,
)
def test_what_is_no_router_file_is_refused(make: Callable[[Path], None], routed: Gateway, artefact: Path) -> None:
    """F17, F18: nothing is executed, nothing waits for ever, the old router goes on."""
    artefact.unlink()
    make(artefact)
    try:
        assert_error(reload(routed), 409, "invalid_artefact")
        assert routed.chat(model="auto").text.startswith("Hello from gpt-4o")
        assert info(routed)["last_error"]
        assert not (artefact.parent / "executed").exists()
    finally:
        if artefact.is_dir() and not artefact.is_symlink():
            artefact.rmdir()
        else:
            artefact.unlink(missing_ok=True)
        replace_file(artefact, packaged_artefact().read_bytes())
    assert reload(routed).status == 200


def test_reload_is_for_the_master_key(routed: Gateway) -> None:
    """COMPAT 4: 401 without a key, 403 with a virtual one."""
    assert_error(routed.request("POST", "/router/reload", key=None), 401, "invalid_api_key")
    assert_error(routed.request("POST", "/router/reload", key=SMALL_KEY), 403, "permission_denied")


def test_changed_file_is_taken_without_being_asked(routed: Gateway, artefact: Path) -> None:
    """Issue 2, part 6: the file is polled."""
    assert reload(routed).status == 200
    before = info(routed)["last_reload"]
    replace_file(artefact, b"not a router")
    eventually(lambda: info(routed)["last_error"], what="the bad file to be noticed")
    assert info(routed)["last_reload"] == before
    replace_file(artefact, packaged_artefact().read_bytes())
    eventually(lambda: not info(routed)["last_error"], what="the good file to be taken")


def test_where_keys_are_named_only_files_that_they_signed_are_taken(upstream: Upstream, tmp_path: Path) -> None:
    path, good = tmp_path / "router.safetensors", packaged_artefact().read_bytes()
    ours, theirs = bytes(range(32)), bytes(range(1, 33))
    path.write_bytes(sign(good, ours))
    settings = {
        "routing_strategy": "llmrouter-knn",
        "routing_strategy_args": {
            "model_path": str(path),
            "hot_reload": False,
            "public_keys": [base64_of(public_of(ours))],
        },
    }
    with running(base_config(upstream, router_settings=settings)) as gateway:
        first = info(gateway)
        assert first["routes"]["auto"]["signed_by"] == base64_of(public_of(ours))
        for content, field in ((good, "signature"), (sign(good, theirs), "signed_by")):
            replace_file(path, content)
            assert_error(reload(gateway), 409, code="invalid_artefact")
            after = info(gateway)
            assert f'field "{field}"' in after["last_error"]
            assert after["artefact"] == first["artefact"]
            assert gateway.chat(model="auto").status == 200
        replace_file(path, sign(good, ours))
        assert reload(gateway).status == 200
        assert info(gateway)["last_error"] is None


def test_an_unsigned_file_at_the_start_leaves_the_packaged_router(upstream: Upstream, tmp_path: Path) -> None:
    path = tmp_path / "router.safetensors"
    path.write_bytes(packaged_artefact().read_bytes())
    settings = {
        "routing_strategy": "llmrouter-knn",
        "routing_strategy_args": {"model_path": str(path), "public_keys": [base64_of(public_of(bytes(32)))]},
    }
    with running(base_config(upstream, router_settings=settings)) as gateway:
        said = info(gateway)
        assert 'field "signature" is missing' in said["warnings"][0]
        assert said["routes"]["auto"]["signed_by"] is None
        assert gateway.chat(model="auto").status == 200
