"""`routewright demo` as a newcomer runs it, and an unmodified OpenAI client against what it serves."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from openai import OpenAI

from harness.ports import free_port
from routewright.demo.config import KEY, PRICES
from routewright.record.journal import read_journal

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@contextmanager
def demo(folder: Path, port: int) -> Iterator[list[str]]:
    """The demo up and running; gives the lines that it has printed until the reader's turn."""
    command = [sys.executable, "-m", "routewright", "demo", "--port", str(port), "--data-dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if "Your turn" in line:
                break
        assert "Your turn" in lines[-1], "".join(lines)
        yield lines
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenAI, list[str], Path]]:
    folder, port = tmp_path_factory.mktemp("demo"), free_port()
    with demo(folder, port) as lines, OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY) as client:
        yield client, lines, folder


def test_sample_prompts_go_to_different_models_and_save_money(running: tuple[OpenAI, list[str], Path]) -> None:
    _, lines, folder = running
    text = "".join(lines)
    records = [record for record in read_journal(folder / "journal") if record["decision"]][:7]
    chosen = {record["model"] for record in records}
    assert len(records) == 7
    assert len(chosen) > 1
    assert chosen <= PRICES.keys()
    assert all(model in text for model in chosen)
    assert "saved" in text
    assert sum(r["cost_nusd"] for r in records) < sum(r["decision"]["baseline_nusd"] for r in records)


def test_openai_client_chats_streams_calls_tools_and_embeds(running: tuple[OpenAI, list[str], Path]) -> None:
    client, _, _ = running
    hello = [{"role": "user", "content": "Hello!"}]

    plain = client.chat.completions.create(model="auto", messages=hello)
    assert plain.model in PRICES
    assert plain.model in (plain.choices[0].message.content or "")
    assert plain.usage is not None

    raw = client.chat.completions.with_raw_response.create(model="auto", messages=hello)
    assert raw.headers["x-routewright-model"] == raw.parse().model

    stream = client.chat.completions.create(model="gpt-4o-mini", messages=hello, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert "gpt-4o-mini" in text

    asked = client.chat.completions.create(model="gpt-4o", messages=hello, tools=[WEATHER])
    calls = asked.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.name == "weather"

    made = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert [len(item.embedding) for item in made.data] == [256, 256]
    assert made.data[0].embedding != made.data[1].embedding


def test_taken_port_is_said_before_anything_starts() -> None:

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "routewright", "demo", "--once", "--port", str(port)],
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
    assert ended.returncode == 2
    assert f"port {port} is taken" in ended.stdout
