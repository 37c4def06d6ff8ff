"""The process as a whole: draining on SIGTERM, several workers, a worker that dies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from harness.dialect import chat_events, chunked_stream
from harness.gateway import TEAM_KEY, TIGHT_KEY, Gateway, base_config, eventually, running
from harness.upstream import Hang, Send, Until, Upstream
from harness.wire import Wire, assert_error, request_bytes

CHAT = "/v1/chat/completions"


def stream_request(model: str = "one-000") -> bytes:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "x"}]}
    return request_bytes("POST", CHAT, key=TEAM_KEY, body=json.dumps(body).encode())


@pytest.mark.parametrize("workers", [1, 2])
def test_streams_finish_after_sigterm_and_nothing_new_is_taken(workers: int, upstream: Upstream) -> None:
    """F30: running streams end as they would have, new connections are refused or get 503, exit code 0."""
    go_on = threading.Event()
    talker = upstream["one-000"]
    talker.forget()
    pieces = chunked_stream(chat_events(["Hel", "lo"]))
    talker.plays(*map(Send, pieces[:3]), Until(go_on), *map(Send, pieces[3:]))
    with running(base_config(upstream, ones=1), workers=workers) as gateway:
        clients = [gateway.connect() for _ in range(30)]
        idle = gateway.connect()
        try:
            idle.send(request_bytes("GET", "/health"))
            idle.reply()
            for client in clients:
                client.send(stream_request())
            for client in clients:
                client.wait_for(b'"Hel"')

            gateway.terminate()

            eventually(lambda: takes_nothing_new(gateway), what="new requests to be refused")
            assert idle.is_closed()
            assert gateway.process.poll() is None, "it did not wait for its streams"
            go_on.set()
            for client in clients:
                reply = client.reply()
                assert reply.text == "Hello"
                assert reply.events[-1] == "[DONE]"
                assert client.is_closed()
            assert gateway.wait() == 0
        finally:
            go_on.set()
            for client in [*clients, idle]:
                client.close()
        assert len(gateway.journal()) >= 30
        assert {r["ended"] for r in gateway.journal() if r["is_stream"]} == {"complete"}
    talker.forget()


def takes_nothing_new(gateway: Gateway) -> bool:
    try:
        with gateway.connect() as client:
            client.send(request_bytes("GET", "/v1/models", key=TEAM_KEY))
            reply = client.reply()
    except (ConnectionError, AssertionError):
        return True
    if reply.status == 200:
        return False
    assert_error(reply, 503, "shutting_down", type="api_error")
    return True


def test_stream_that_outlasts_the_grace_is_ended_with_an_error(upstream: Upstream) -> None:
    """F30, S: after `--drain-seconds` the rest is told that it broke off; exit code 0."""
    talker = upstream["one-000"]
    talker.forget()
    pieces = chunked_stream(chat_events(["Hel", "lo"]))
    talker.plays(*map(Send, pieces[:3]), Hang())
    with running(base_config(upstream, ones=1), arguments=["--drain-seconds", "1"]) as gateway:
        with gateway.connect() as client:
            client.send(stream_request())
            client.wait_for(b'"Hel"')
            gateway.terminate()
            reply = client.reply()
            assert reply.events[-1] == "[DONE]"
            assert reply.events[-2]["error"]["code"] == "shutting_down"
        assert gateway.wait() == 0
        [record] = [record for record in gateway.journal() if record["is_stream"]]
        assert record["ended"] != "complete"
        assert record["completion_tokens"] >= 1
    talker.forget()


def test_request_between_two_attempts_is_answered_before_the_end(upstream: Upstream) -> None:
    """F30, L: what waits for a retry is running too; it gets an answer and a record."""
    talker = upstream["one-000"]
    talker.forget()
    talker.answers(429, headers={"Retry-After": "7"})
    with running(base_config(upstream, ones=1), arguments=["--drain-seconds", "2"]) as gateway:
        with gateway.connect() as client:
            client.send(stream_request())
            eventually(lambda: talker.hits)
            gateway.terminate()
            assert_error(client.reply(), (429, 503))
        assert gateway.wait() == 0
        assert len(gateway.journal()) == 1
    talker.forget()


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_idle_gateway_ends_at_once_with_code_0(which: signal.Signals, upstream: Upstream) -> None:
    """F30."""
    with running(base_config(upstream)) as gateway:
        gateway.chat()
        gateway.process.send_signal(which)
        assert gateway.wait(30) == 0


# --- workers ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_workers(upstream: Upstream):
    with running(base_config(upstream), workers=2) as gateway:
        yield gateway


def holders(gateway: Gateway) -> set[int]:
    """Processes that hold a client's connection."""
    found = set()
    for process in gateway.processes():
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == gateway.port:
                found.add(process.pid)
    return found


def spread(gateway: Gateway, count: int = 64) -> set[int]:
    """Open many connections, see that each is served; the processes that serve them."""
    clients = [Wire(gateway.port) for _ in range(count)]
    try:
        for client in clients:
            client.send(request_bytes("GET", "/v1/models", key=TEAM_KEY))
        for client in clients:
            assert client.reply().status == 200
        return holders(gateway)
    finally:
        for client in clients:
            client.close()


def test_both_workers_answer(two_workers: Gateway) -> None:
    assert len(spread(two_workers)) == 2


def test_killed_worker_is_replaced(two_workers: Gateway) -> None:
    """DESIGN 4: the supervisor starts another one; the rest goes on."""
    victim = next(iter(spread(two_workers)))
    psutil.Process(victim).kill()

    eventually(lambda: _spread_or_none(two_workers, victim), what="two workers again")
    assert two_workers.chat().status == 200
    assert two_workers.process.poll() is None


def _spread_or_none(gateway: Gateway, victim: int) -> bool:
    try:
        serving = spread(gateway)
    except (ConnectionError, AssertionError, TimeoutError, psutil.Error):
        return False
    return len(serving) == 2 and victim not in serving


def test_workers_whose_supervisor_was_killed_end_after_what_runs(upstream: Upstream) -> None:
    """F15, F30, R23: else they would serve on beside whoever is started in its place, each with limits of its own, and
    no signal and no change of the configuration would reach them."""
    go_on = threading.Event()
    talker = upstream["one-000"]
    talker.forget()
    pieces = chunked_stream(chat_events(["Hel", "lo"]))
    talker.plays(*map(Send, pieces[:3]), Until(go_on), *map(Send, pieces[3:]))
    try:
        with running(base_config(upstream, ones=1), workers=2) as gateway, gateway.connect() as client:
            client.send(stream_request())
            client.wait_for(b'"Hel"')
            left = gateway.serving_processes()
            gateway.process.kill()
            gateway.process.wait(30)
            eventually(lambda: takes_nothing_new(gateway), what="new requests to be refused")
            gateway.start_again()
            allowed = [gateway.chat(key=TIGHT_KEY).status for _ in range(20)].count(200)
            assert 0 < allowed <= 3
            go_on.set()
            reply = client.reply()
            assert (reply.text, reply.events[-1]) == ("Hello", "[DONE]")
            assert not psutil.wait_procs(left, timeout=15)[1]
            eventually(lambda: [each["ended"] for each in gateway.journal() if each["is_stream"]] == ["complete"])
    finally:
        go_on.set()
        talker.forget()


def test_worker_that_can_not_start_takes_no_other_with_it(upstream: Upstream) -> None:
    """F22, F15: whatever keeps a new worker from its start, here the place of its journal, the one that serves goes on,
    with every connection; and once it can start it does."""
    with running(base_config(upstream), workers=2) as gateway:
        assert gateway.chat().status == 200
        one, other = gateway.serving_processes()
        journal = gateway.data_dir / "journal"
        journal.rename(gateway.data_dir / "away")
        journal.write_text("in the way")
        one.kill()
        eventually(lambda: gateway.output().count("ended with status 1") > 5, what="it to fail again and again")
        assert {gateway.chat(timeout_s=5).status for _ in range(30)} == {200}
        assert gateway.process.poll() is None
        assert other.is_running()
        journal.unlink()
        (gateway.data_dir / "away").rename(journal)
        eventually(lambda: _spread_or_none(gateway, one.pid), what="two workers again")
        # What the file system made fail is on the log with its reason; nothing else may be.
        said = gateway.output()
        assert said.count("Traceback") == said.count("FileExistsError")
        gateway.output_file.write_text(said.replace("Traceback", "(seen)"))


WITHOUT_A_PROCESS = """
import errno, os, signal, socket, sys, threading, time
from routewright.server import workers

made, real = [], os.fork
def fork():
    made.append(time.monotonic())
    if len(made) in (3, 4):
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return real()
os.fork = fork

def work(worker, listener):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, workers.STOPS)
    if worker == 0 and len(made) == 1:
        os._exit(7)
    signal.pause()

def end():
    while len(made) < 5:
        time.sleep(0.01)
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end, daemon=True).start()
sockets = workers.listening_sockets("127.0.0.1", 0, 2)
print(workers.Supervisor(work, sockets, lambda worker: None, lambda: None).run(), len(made))
"""


def test_system_without_a_process_to_give_is_asked_again() -> None:
    """F32: a worker has died, and two times there is none for its successor; the other serves all the while."""
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_PROCESS], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.stdout.split() == ["0", "5"], ended.stderr
    assert ended.stderr.count("can't be started: Resource temporarily unavailable") == 2


def test_burst_of_connections_waits_in_the_socket_and_is_not_turned_away(upstream: Upstream) -> None:
    """1b: more than a worker takes in a turn of its loop. One that finds the queue full is tried again a second later
    by its own kernel, and all that its caller sees is that it was slow."""
    with running(base_config(upstream)) as gateway:
        (worker,) = gateway.serving_processes()
        worker.suspend()
        clients: list[Wire] = []
        try:
            clients += [gateway.connect(timeout_s=0.5) for _ in range(600)]
        finally:
            worker.resume()
        try:
            for client in clients:
                client.socket.settimeout(20)
                client.send(request_bytes("GET", "/health"))
            assert {client.reply().status for client in clients} == {200}
        finally:
            for client in clients:
                client.close()


def test_records_of_all_workers_are_in_the_journal(two_workers: Gateway) -> None:
    ids = [f"spread-{number}" for number in range(40)]
    for request_id in ids:
        assert two_workers.chat(headers={"x-request-id": request_id}).status == 200
    recorded = [r["request_id"] for r in two_workers.journal() if r["request_id"].startswith("spread-")]
    assert sorted(recorded) == sorted(ids)


def test_limit_holds_over_all_workers(two_workers: Gateway) -> None:
    """DESIGN 5: never one more than allowed, over all workers."""
    statuses = [two_workers.chat(key=TIGHT_KEY).status for _ in range(20)]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) <= 3


def test_start_on_a_taken_port_fails_with_a_reason(two_workers: Gateway) -> None:
    command = [sys.executable, "-m", "routewright", "serve", "--config", str(two_workers.config_file)]
    command += ["--host", "127.0.0.1", "--port", str(two_workers.port), "--workers", "1"]
    command += ["--data-dir", str(two_workers.data_dir.parent / "other")]
    ended = subprocess.run(
        command, env=two_workers.environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.returncode != 0
    assert str(two_workers.port) in ended.stdout + ended.stderr
