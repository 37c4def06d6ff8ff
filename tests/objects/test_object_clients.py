"""OpenAI's clients for Python and Node, unmodified, with files, batches and fine-tuning; and a large file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import openai
import psutil
import pytest

from harness.accounts import Accounts
from harness.dialect import usage
from harness.gateway import TEAM_KEY, Gateway, base_config, deployment, running
from harness.taker import Taker
from harness.upstream import Upstream
from harness.wire import request_bytes
from objects.asking import BOUNDARY, jsonl, line, part

MEGABYTE = 1 << 20


@pytest.fixture
def client(owning: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[openai.OpenAI]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with openai.OpenAI(base_url=f"{owning.url}/v1", api_key=TEAM_KEY, max_retries=0, timeout=30) as made:
        yield made


def test_openai_python(client: openai.OpenAI, accounts: Accounts) -> None:
    made = client.files.create(file=("in.jsonl", jsonl(line(1), line(2))), purpose="batch")
    assert (made.filename, made.purpose) == ("in.jsonl", "batch")
    batch = client.batches.create(input_file_id=made.id, endpoint="/v1/chat/completions", completion_window="24h",
                                  metadata={"for": "a test"})  # fmt: skip
    assert (batch.status, batch.metadata) == ("in_progress", {"for": "a test"})
    accounts["one"].finish(batch.id, [usage(9, 3), usage(9, 3)], tells_usage=True)
    ended = client.batches.retrieve(batch.id)
    assert (ended.status, ended.usage.output_tokens) == ("completed", 6)
    lines = client.files.content(ended.output_file_id).text.splitlines()
    assert [json.loads(each)["custom_id"] for each in lines] == ["r0", "r1"]
    assert batch.id in [each.id for each in client.batches.list(limit=1)]  # page after page
    assert client.files.retrieve(made.id).id in [each.id for each in client.files.list(purpose="batch")]
    assert client.batches.cancel(client.batches.create(input_file_id=made.id, endpoint="/v1/chat/completions",
                                                       completion_window="24h").id).status == "cancelling"  # fmt: skip
    assert client.files.delete(made.id).deleted is True
    for ask in (lambda: client.files.retrieve(made.id), lambda: client.batches.retrieve("batch_nobody")):
        with pytest.raises(openai.NotFoundError):
            ask()


def test_openai_python_fine_tunes(client: openai.OpenAI, accounts: Accounts) -> None:
    examples = ("t.jsonl", b'{"messages": []}\n')
    made = client.files.create(file=examples, purpose="fine-tune", extra_body={"model": "cheap"})
    job = client.fine_tuning.jobs.create(model="cheap", training_file=made.id, hyperparameters={"n_epochs": 2})
    sent = accounts["one"].last.json
    assert sent == {"model": "gpt-4o-mini", "training_file": made.id, "hyperparameters": {"n_epochs": 2}}
    accounts["one"].jobs[job.id].update(status="succeeded", result_files=["file-of-results"], fine_tuned_model="ft:x")
    assert client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model == "ft:x"
    assert client.files.retrieve  # its results are the job's owner's
    assert "file-of-results" in [each.id for each in client.files.list()]
    assert job.id in [each.id for each in client.fine_tuning.jobs.list()]
    assert [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=5)] == ["began"]
    assert accounts["one"].last.path.endswith("/events?limit=5")
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    own = client.fine_tuning.jobs.create(model="gpt-4o-mini-2024-07-18", training_file=made.id)  # the provider's name
    assert own.model == "gpt-4o-mini-2024-07-18"
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.create(model="cheap", training_file="file-nobody")
    with pytest.raises(openai.BadRequestError, match="takes no fine_tuning_jobs"):
        client.fine_tuning.jobs.create(model="claude", training_file=made.id)


NODE_SCRIPT = """
import OpenAI, {toFile} from "openai";
import assert from "node:assert/strict";

const client = new OpenAI({baseURL: process.env.GATEWAY + "/v1", apiKey: process.env.GATEWAY_KEY, maxRetries: 0});
const file = await client.files.create({file: await toFile(Buffer.from(process.env.LINES), "in.jsonl"),
                                        purpose: "batch"});
const batch = await client.batches.create({input_file_id: file.id, endpoint: "/v1/chat/completions",
                                           completion_window: "24h"});
assert.equal(batch.status, "in_progress");
assert.equal((await client.batches.retrieve(batch.id)).input_file_id, file.id);
const ids = [];
for await (const each of client.batches.list({limit: 2})) ids.push(each.id);
assert.ok(ids.includes(batch.id));
assert.equal((await client.batches.cancel(batch.id)).status, "cancelling");
const content = await client.files.content(file.id);
assert.equal((await content.text()).trim().split("\\n").length, 2);
assert.equal((await client.files.delete(file.id)).deleted, true);
await assert.rejects(client.files.retrieve(file.id), OpenAI.NotFoundError);
console.log("all good");
"""


def test_openai_npm(owning: Gateway, tmp_path: Path) -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "routewright-tests" / "node"
    if shutil.which("node") is None or not (cache / "node_modules" / "openai").is_dir():
        pytest.skip("node, or the npm package that test_clients.py installs, is not there: the npm client is not tried")
    script = tmp_path / "client.mjs"
    script.write_text(NODE_SCRIPT)
    (tmp_path / "node_modules").symlink_to(cache / "node_modules")
    lines = jsonl(line(1), line(2)).decode()
    environment = {**os.environ, "GATEWAY": owning.url, "GATEWAY_KEY": TEAM_KEY, "LINES": lines}
    command = ["node", str(script)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert (ended.returncode, ended.stdout.strip()) == (0, "all good"), ended.stderr[-2000:]


# --- large ones -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def taking(upstream: Upstream) -> Iterator[tuple[Gateway, Taker]]:
    taker = Taker()
    config = base_config(upstream)
    config["model_list"] = [deployment("cheap", upstream, "x", model="gpt-4o", api_base=taker["x"].api_base)]
    del config["routes"]
    with running(config) as started:
        yield started, taker
    taker.close()


def memory_mb(gateway: Gateway) -> float:
    """Of the worker: the main process, beside which the store's runs."""
    return psutil.Process(gateway.process.pid).memory_info().rss / MEGABYTE


@pytest.mark.parametrize("purpose_comes", ["first", "last"])
def test_large_batch_passes_line_by_line_in_bounded_memory(taking: tuple[Gateway, Taker], purpose_comes: str) -> None:
    """200 MB with ROUTEWRIGHT_LONG, else 20: in lines of a megabyte, each of which is read."""
    gateway, taker = taking
    count = 200 if os.environ.get("ROUTEWRIGHT_LONG") else 20
    one = jsonl(line(1, messages=[{"role": "user", "content": "x" * (MEGABYTE - 200)}]))
    head = part("file", b"", "big.jsonl").removesuffix(b"\r\n")
    purpose = part("purpose", b"batch")
    start = (purpose if purpose_comes == "first" else b"") + head
    tail = b"\r\n" + (b"" if purpose_comes == "first" else purpose) + f"--{BOUNDARY}--\r\n".encode()
    most_mb = before_mb = 0.0
    for lines in (2, count):  # once with little, so that all code is loaded
        taker["x"].answers({"id": f"file-{purpose_comes}{lines}", "object": "file", "purpose": "batch"})
        length = len(start) + lines * len(one) + len(tail)
        before_mb = most_mb = memory_mb(gateway)
        with gateway.connect(timeout_s=100) as client:
            fields = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Content-Length": str(length)}
            client.send(request_bytes("POST", "/v1/files", key=TEAM_KEY, headers=fields) + start)
            for place in range(lines):
                client.send(one)
                if place % 5 == 0:
                    most_mb = max(most_mb, memory_mb(gateway))
            client.send(tail)
            reply = client.reply("POST")
        assert reply.status == 200, reply.body
        assert taker["x"].last.length > lines * len(one) - 100 * lines
    assert max(most_mb, memory_mb(gateway)) - before_mb < 16, (before_mb, most_mb)
