"""`routewright doctor`: every fault that is put in its way is named, with what to do; a well machine gets a 0."""

from __future__ import annotations

import json
import re
import resource
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.ports import free_port
from harness.valkey import ValkeyServer
from routewright.cli import main
from routewright.doctor.examine import line
from routewright.doctor.findings import problem
from routewright.doctor.machine import of_clock, of_disk, of_ledger, of_limits
from routewright.doctor.network import of_origins, visit
from routewright.doctor.shared import State, findings
from routewright.record.lag import Lag
from routewright.store.database import Database, sqlite_url

MASTER = "a-master-key-of-good-length"


@contextmanager
def listening(*, context: ssl.SSLContext | None = None, answer: bytes = b"") -> Iterator[int]:
    """Takes connections, shakes hands, answers every one alike."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    is_over = threading.Event()

    def serve() -> None:
        while not is_over.is_set():
            try:
                client, _ = server.accept()
                with client:
                    secured = context.wrap_socket(client, server_side=True) if context else client
                    with secured:
                        if answer:
                            secured.recv(1000)
                            secured.sendall(answer)
            except OSError:
                continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        is_over.set()
        thread.join(5)
        server.close()


def examined(
    folder: Path, capsys: pytest.CaptureFixture[str], *options: str, port: int, master: str = MASTER, **more: Any
) -> tuple[int, dict[str, Any]]:
    config = {
        "model_list": [
            {
                "model_name": "m",
                "litellm_params": {"model": "openai/m", "api_base": f"http://127.0.0.1:{port}/v1", "api_key": "k"},
            }
        ],
        "general_settings": {"master_key": master},
        **more,
    }
    (folder / "config.yaml").write_text(json.dumps(config))
    words = ["doctor", "--config", str(folder / "config.yaml"), "--data-dir", str(folder / "data"), "--json", *options]
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0), json.loads(capsys.readouterr().out)


def texts(report: dict[str, Any], grade: str) -> str:
    return "\n".join(each["text"] for each in report["findings"] if each["grade"] == grade)


def test_well_machine_gets_a_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with listening() as port:
        status, report = examined(tmp_path, capsys, port=port)
    assert status == 0, texts(report, "problem")
    assert {each["subject"] for each in report["findings"]} >= {"config", "reach", "clock", "disk", "limits", "store"}
    assert all(each["advice"] for each in report["findings"] if each["grade"] != "good")


def test_upstream_that_is_not_there_is_a_problem_by_address_and_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    status, report = examined(tmp_path, capsys, port=port)
    assert status == 1
    assert f"127.0.0.1:{port} (m): refuses connections" in texts(report, "problem")
    status, report = examined(tmp_path, capsys, "--offline", port=port)
    assert status == 0


def test_callbacks_have_to_be_reached_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = free_port()
    with listening() as port:
        status, report = examined(
            tmp_path, capsys, port=port,
            litellm_settings={"callbacks": ["otel"]}, callback_settings={"otel": {"endpoint": f"http://127.0.0.1:{gone}"}},
        )  # fmt: skip
    assert status == 1
    assert f"127.0.0.1:{gone} (callback otel)" in texts(report, "problem")


def test_configuration_s_faults_are_told_with_their_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, report = examined(tmp_path, capsys, "--offline", port=1, routes={"auto": {"qualty": 1}})
    assert status == 1
    assert "routes.auto.qualty" in texts(report, "problem")


def test_weak_master_key_and_model_without_a_price_are_warnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, report = examined(tmp_path, capsys, "--offline", port=1, master="sk-1234")
    assert status == 0
    assert "the master key has 7 characters" in texts(report, "warning")
    assert "no price is known for m" in texts(report, "warning")
    assert "sk-1234" not in json.dumps(report)


def test_spoiled_router_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"rubbish")
    routes = {"auto": {"router": str(tmp_path / "bad.safetensors")}}
    status, report = examined(tmp_path, capsys, "--offline", port=1, routes=routes)
    assert status == 1
    assert "bad.safetensors" in texts(report, "problem")


def test_database_that_is_down_and_one_that_is_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"postgresql://u:database-secret@127.0.0.1:{free_port()}/d"
    status, report = examined(
        tmp_path, capsys, "--offline", port=1, general_settings={"master_key": MASTER, "database_url": address}
    )
    assert status == 1
    assert "Postgres" in texts(report, "problem")
    assert "database-secret" not in json.dumps(report)
    database = Database(sqlite_url(tmp_path / "data"))
    database.migrate()
    database.close()
    _, report = examined(tmp_path, capsys, "--offline", port=1)
    assert "SQLite: tables of version" in texts(report, "good")


def test_folder_that_can_t_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (found,) = of_disk(tmp_path / "file" / "data")
    assert (found.grade, found.subject) == ("problem", "disk")


def test_few_files_and_more_workers_than_cores() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))\n"
        "from routewright.doctor.machine import of_limits\n"
        "print([each.text for each in of_limits(500) if each.grade != 'good'])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "at most 200 open files" in out
    assert "500 workers on" in out
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
    assert all(each.advice or each.grade == "good" for each in of_limits(1))


@pytest.mark.parametrize(("skew_s", "grade"), [(None, "good"), (2.0, "good"), (-3600.0, "warning"), (90.0, "warning")])
def test_clock(skew_s: float | None, grade: str) -> None:
    assert [each.grade for each in of_clock(skew_s, "api.example.com")] == [grade]


def test_certificate_that_nobody_signed_and_a_clock_that_is_told(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    answer = b"HTTP/1.1 404 Not Found\r\ndate: Tue, 15 Nov 1994 08:12:31 GMT\r\ncontent-length: 0\r\n\r\n"
    with listening(context=context, answer=answer) as port:
        assert "certificate is not accepted" in visit(("https", "localhost", port)).fault
        known = visit(("https", "localhost", port), str(tmp_path / "cert.pem"))
        assert known.fault == ""
        assert known.skew_s is not None
        assert known.skew_s > 9e8
        found, (skew_s, told_by) = of_origins({("https", "localhost", port): ["m"]}, str(tmp_path / "cert.pem"))
        assert [each.grade for each in found] == ["good"]
        assert (skew_s or 0) > 9e8
        assert told_by == "localhost"


def test_report_tells_no_credential() -> None:
    assert "sk-abcdefgh1234" not in line(problem("keys", "got sk-abcdefgh1234", "look"), is_coloured=False)


# --- a Valkey -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    server = ValkeyServer()
    yield server
    server.close()


def shared_by(server: ValkeyServer) -> dict[str, Any]:
    return {"router_settings": {"redis_host": "127.0.0.1", "redis_port": server.port}}


def test_valkey_is_named_with_how_far_it_is_and_what_is_leased(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], valkey: ValkeyServer
) -> None:
    valkey.ask("ZADD", "routewright:replicas", 1, "a", 2, "b")
    valkey.ask("HSET", "routewright:limit:abc:minute", "x", 1)
    valkey.ask("SET", "somebody-elses:limit:abc:minute", 1)
    with listening() as port:
        code, report = examined(tmp_path, capsys, port=port, **shared_by(valkey))
    assert code == 0
    (text,) = [each["text"] for each in report["findings"] if each["subject"] == "valkey"]
    assert re.fullmatch(
        r"Valkey \d+\.\d+\.\d+, \d+\.\d\d ms away, 1 limits and budgets leased, 2 machines heard of", text
    )


def test_valkey_that_may_throw_leases_away_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], valkey: ValkeyServer
) -> None:
    valkey.ask("CONFIG", "SET", "maxmemory", "64mb")
    valkey.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    try:
        with listening() as port:
            code, report = examined(tmp_path, capsys, port=port, **shared_by(valkey))
    finally:
        valkey.ask("CONFIG", "SET", "maxmemory", "0")
    assert code == 0
    assert "with 64 MiB full it throws keys away (allkeys-lru)" in texts(report, "warning")


def test_valkey_that_is_away_or_takes_no_writes_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], valkey: ValkeyServer
) -> None:
    valkey.ask("REPLICAOF", "127.0.0.1", "1")
    try:
        with listening() as port:
            code, report = examined(tmp_path, capsys, port=port, **shared_by(valkey))
        assert code == 1
        assert "it is a replica" in texts(report, "problem")
    finally:
        valkey.ask("REPLICAOF", "NO", "ONE")
    gone = {"router_settings": {"redis_host": "127.0.0.1", "redis_port": free_port(), "redis_password": "a-password"}}
    with listening() as port:
        code, report = examined(tmp_path, capsys, port=port, **gone)
    assert code == 1
    assert "not reached" in texts(report, "problem")
    assert "a-password" not in json.dumps(report)


def test_slow_valkey_and_a_full_one_are_told_by_what_it_means() -> None:
    slow = State(round_trip_s=0.08)
    assert [each.grade for each in findings(slow, 0.05)] == ["good", "problem"]
    assert [each.grade for each in findings(State(round_trip_s=0.02), 0.05)] == ["good", "warning"]
    full = State(round_trip_s=0.001, policy="noeviction", used_bytes=95, most_bytes=100)
    assert [each.grade for each in findings(full, 0.05)] == ["good", "warning"]
    assert [each.grade for each in findings(State(round_trip_s=0.001), 0.05)] == ["good"]


def test_records_that_are_late_for_the_ledger_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data" / "journal").mkdir(parents=True)
    (tmp_path / "data" / "journal" / "w.jsonl").write_text('{"ended_at_ms": 1790000000000}\n')
    database = Database(sqlite_url(tmp_path / "data"))
    database.migrate()
    database.close()
    with listening() as port:
        code, report = examined(tmp_path, capsys, port=port)
    assert code == 0
    assert "records are not in it yet, the oldest for" in texts(report, "warning")
    (good,), (soon,), (late,) = [
        list(of_ledger(lag, 10_000_000)) for lag in (Lag(0, 0), Lag(9, 9_000_000), Lag(9, 1_000_000))
    ]
    assert [good.grade, soon.grade, late.grade] == ["good", "warning", "warning"]
