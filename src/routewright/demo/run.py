"""`routewright demo`: stand-in models, a gateway on port 4000, sample prompts to `auto`, and what became of them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from routewright.demo.config import KEY, MASTER_KEY, demo_config, keys_found, real_config
from routewright.record.journal import read_journal

START_TIMEOUT_S = 20.0
REQUEST_TIMEOUT_S = 120.0

PROMPTS = (
    ("small talk", "Hi there! What is the capital of France?"),
    ("rewriting", "Rewrite this politely: send me the report today."),
    ("extraction", "List the dates in: 'We met on 3 May and signed on 12 June 2024.'"),
    ("code", "Write a Python function that returns the n-th Fibonacci number in O(log n), and prove its running time."),
    ("physics", "A particle sits in a one-dimensional infinite well of width L. Derive the expectation value of its "
     "momentum squared in the n-th state, and check it against the uncertainty principle."),
    ("law", "A landlord promises orally to extend a two-year lease; the tenant builds a kitchen in reliance on it. "
     "Which doctrines may defeat the statute of frauds here, and what remedy would a court give?"),
    ("mathematics", "Prove that every finite group of order p^2, p prime, is abelian."),
)  # fmt: skip


def run_demo(*, port: int, data_dir: Path | None, once: bool, real: bool) -> int:
    """Show the whole product on one machine. Returns the exit status."""
    console = Console()
    found = keys_found(os.environ)
    if real and not found:
        console.print("--real needs a provider's key in the environment: OPENAI_API_KEY, ANTHROPIC_API_KEY, ...")
        return 2
    if port and not _is_free(port):
        console.print(f"port {port} is taken; stop what listens there, or choose another: routewright demo --port 4001")
        return 2
    with contextlib.ExitStack() as stack:
        # SIGTERM ends it as Ctrl-C does, so that what it started ends with it.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        folder = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="routewright-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        if real:
            config = real_config(found)
        else:
            config = demo_config(f"http://127.0.0.1:{stack.enter_context(_stand_in())}")
        (folder / "config.yaml").write_text(config)
        with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True) as progress:
            progress.add_task("starting the gateway")
            port = stack.enter_context(_gateway(folder, port))
        behind = (
            "real models, billed by their providers"
            if real
            else "stand-ins that say who they are, at a believable pace"
        )
        console.print(
            f"[bold green]routewright[/] serves on [bold]http://127.0.0.1:{port}[/]\n"
            f"  key [bold]{KEY}[/], master key [bold]{MASTER_KEY}[/]\n  behind it: {behind}\n"
        )
        failed = _send_prompts(console, folder, port, is_kept=data_dir is not None)
        if found and not real:
            console.print(f"{', '.join(found)} found: [bold]routewright demo --real[/] uses real models instead.")
        if once:
            return 1 if failed else 0
        console.print("\nYour turn; Ctrl-C ends it:")
        console.out(_CURL.format(port=port, key=KEY))
        console.print(f"[dim]API: http://127.0.0.1:{port}/docs   metrics: http://127.0.0.1:{port}/metrics[/]")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
    return 0


_CURL = """
  curl http://127.0.0.1:{port}/v1/chat/completions \\
    -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \\
    -d '{{"model":"auto","messages":[{{"role":"user","content":"Hello!"}}]}}'
"""


def _send_prompts(console: Console, folder: Path, port: int, *, is_kept: bool) -> int:
    """Send every sample prompt to `auto` and print where it went, why and what it cost; returns how many failed."""
    table = Table(
        title="Sample prompts, sent to the model `auto`", title_justify="left", box=box.SIMPLE_HEAD, expand=True
    )
    table.add_column("prompt", no_wrap=True, ratio=1)
    for title, width in (("went to", 11), ("score / best", 12), ("cost USD", 8), ("best's", 8)):
        table.add_column(title, no_wrap=True, min_width=width, justify="left" if title == "went to" else "right")
    failed, last_reason = 0, ""
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True) as progress:
        task = progress.add_task("")
        for kind, prompt in PROMPTS:
            progress.update(task, description=f"asking auto: {prompt[:60]}")
            before = {record["call_id"] for record in read_journal(folder / "journal")}
            reply = _post(port, "/v1/chat/completions", KEY, {
                "model": "auto", "messages": [{"role": "user", "content": prompt}],
            })  # fmt: skip
            why = _post(port, "/router/route", MASTER_KEY, {"query": prompt})
            record = next((r for r in read_journal(folder / "journal") if r["call_id"] not in before), None)
            if "error" in reply or record is None:
                failed += 1
                message = str(reply.get("error", {}).get("message", "no record was written"))
                table.add_row(prompt, f"[red]{message}[/]", "", "", "")
                continue
            decision = record["decision"]
            scores = [why["score"], *(other["score"] for other in why["alternatives"])]
            table.add_row(
                f"[dim]{kind}:[/] {prompt}",
                f"[bold {'green' if reply['model'] != decision['baseline_model'] else 'yellow'}]{reply['model']}[/]",
                f"{why['score']:.2f} / {max(scores):.2f}",
                f"{record['cost_nusd'] / 1e9:.6f}",
                f"{decision['baseline_nusd'] / 1e9:.6f}",
            )
            last_reason = why["reason"]
    console.print(table)
    console.print(f"[dim]Why the last one: {last_reason}.[/]")
    records = [r for r in read_journal(folder / "journal") if r.get("decision")]
    cost = sum(record["cost_nusd"] for record in records)
    best = sum(record["decision"]["baseline_nusd"] for record in records)
    if best:
        console.print(
            f"Paid [bold]{cost / 1e9:.6f}[/] USD; always the best-rated model would have been {best / 1e9:.6f}: "
            f"[bold green]{1 - cost / best:.0%} saved[/]. "
            f"\n[dim]{folder}/journal has a record of each; "
            f"`routewright usage --data-dir {folder}` adds them up{'' if is_kept else ' while this runs'}.[/]"
        )
    return failed


def _post(port: int, path: str, key: str, body: Mapping[str, Any]) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_TIMEOUT_S)
    try:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


@contextlib.contextmanager
def _stand_in() -> Iterator[int]:
    """The stand-in upstream as a process; gives its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "routewright.demo.upstream"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        _end(process)


@contextlib.contextmanager
def _gateway(folder: Path, port: int) -> Iterator[int]:
    """The gateway as a process; gives its port when it answers."""
    port = port or _free_port()
    log = (folder / "gateway.log").open("w")
    command = [
        sys.executable,
        "-m",
        "routewright",
        "serve",
        "--config",
        str(folder / "config.yaml"),
        "--port",
        str(port),
    ]
    process = subprocess.Popen([*command, "--data-dir", str(folder)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the gateway did not start:\n" + (folder / "gateway.log").read_text())
            time.sleep(0.02)
        yield port
    finally:
        _end(process)
        log.close()


def _end(process: subprocess.Popen[Any]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
