"""A router that learns while it serves, at the socket: over workers, over restarts, and for its own callers only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_sets import MODELS, write_set

from harness.gateway import MASTER_KEY, SMALL_KEY, TEAM_KEY, Gateway, base_config, deployment, eventually, running
from harness.upstream import Upstream
from harness.wire import assert_error
from routewright.learning.datasets import read_dataset
from routewright.learning.fit import fit_router
from routewright.routing.artefact import read_artefact, write_artefact
from routewright.routing.online import OnlinePlan, OnlineRating
from routewright.types import Price, Prompt, RouteCandidate

PROMPT = "court statute plaintiff"


@pytest.fixture(scope="module")
def learning_config(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two routes over four models, by a bandit and by a personalized router that were fitted to made-up scores."""
    folder = tmp_path_factory.mktemp("learning")
    write_set(folder, n=300)
    made_up = read_dataset(folder, "made_up")
    for name, arguments in (("bandit", {"prior_weight": 2.0, "rank": 4}), ("personalized", {})):
        write_artefact(
            fit_router(made_up, name, router_arguments=arguments, feature_arguments={"n_topics": 8, "rank": 16}),
            folder / f"{name}.safetensors",
        )
    config = base_config(upstream)
    config["model_list"] += [deployment(name, upstream, name) for name in MODELS]
    for name in ("bandit", "personalized"):
        route = {"candidates": list(MODELS), "router": str(folder / f"{name}.safetensors"), "quality": 1.0}
        config["routes"][name] = route
    config["keys"][1]["models"] = ["bandit", "personalized"]
    return config


@pytest.fixture(scope="module")
def learning(learning_config: dict[str, Any]) -> Iterator[Gateway]:
    with running(learning_config, workers=2) as started:
        yield started


def rate(gateway: Gateway, request_id: Any, score: Any, key: str | None = TEAM_KEY, **more: Any) -> Any:
    body = {"request_id": request_id, "score": score, **more}
    return gateway.request("POST", "/router/feedback", body, key=key)


def scores(gateway: Gateway, route: str) -> dict[str, float]:
    """What the worker that answers expects of each model."""
    question = {"query": PROMPT, "route": route}
    answer = gateway.request("POST", "/router/route", question, key=MASTER_KEY).json
    rated = {answer["selected_model"]: answer["score"]}
    return rated | {other["model"]: other["score"] for other in answer["alternatives"]}


def test_rating_is_taken_once_and_from_its_own_caller(learning: Gateway) -> None:
    reply = learning.chat(model="bandit", prompt=PROMPT)
    request_id = reply.headers["x-request-id"]

    assert_error(rate(learning, request_id, 1, key=SMALL_KEY), 404, "not_found")
    assert rate(learning, request_id, 1).json == {"status": "recorded"}
    assert rate(learning, reply.headers["x-litellm-call-id"], 1.0).json == {"status": "known"}
    assert_error(rate(learning, request_id, 0.5), 409, "conflict")


def test_what_a_caller_named_is_found_by_that_name(learning: Gateway) -> None:
    learning.chat(model="bandit", prompt=PROMPT, headers={"x-request-id": "my-own-name"}, stream=True)

    assert rate(learning, "my-own-name", 0).json == {"status": "recorded"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"score": 1}, "request_id"),
        ({"request_id": "x"}, "score"),
        ({"request_id": "", "score": 1}, "request_id"),
        ({"request_id": "x" * 65, "score": 1}, "request_id"),
        ({"request_id": 5, "score": 1}, "request_id"),
        ({"request_id": "x", "score": True}, "score"),
        ({"request_id": "x", "score": 1.01}, "score"),
        ({"request_id": "x", "score": "1"}, "score"),
        ({"request_id": "x", "score": 1, "model": "grand"}, "model"),
    ],
)
def test_rating_that_says_anything_else_is_refused(body: dict[str, Any], param: str, learning: Gateway) -> None:
    reply = learning.request("POST", "/v1/router/feedback", body)
    assert_error(reply, 400)
    assert reply.error["param"] == param


def test_rating_needs_a_key_and_a_request_that_was_placed_by_a_learning_router(learning: Gateway) -> None:
    assert_error(rate(learning, "x", 1, key=None), 401)
    assert_error(rate(learning, "never-asked", 1), 404, "not_found")
    for model in ("gpt-4o", "auto"):
        reply = learning.chat(model=model)
        assert_error(rate(learning, reply.headers["x-request-id"], 1), 404, "not_found")


def test_choice_is_recorded_with_its_chance(learning: Gateway) -> None:
    """What off-policy estimates need; other routes' records have none."""
    records = [learning.record_of(learning.chat(model="bandit", prompt=PROMPT)) for _ in range(5)]

    assert all(0 < record["decision"]["propensity"] <= 1 for record in records)
    assert "propensity" not in learning.record_of(learning.chat(model="auto"))["decision"]


def rate_petit(gateway: Gateway, times: int) -> None:
    """Callers who like the answers of one model only."""
    for _ in range(times):
        reply = gateway.chat(model="bandit", prompt=PROMPT)
        good = 1.0 if reply.json["model"] == "petit" else 0.0
        assert rate(gateway, reply.headers["x-request-id"], good).json == {"status": "recorded"}


def learned(gateway: Gateway, route: str) -> int:
    """Ratings that the worker which answers has learned from."""
    info = gateway.request("GET", "/router/info", key=MASTER_KEY).json
    return int(info["routes"][route]["ratings_learned"])


def bandit_ratings(gateway: Gateway) -> int:
    """Ratings of the bandit's choices so far."""
    log = gateway.data_dir / "online" / "feedback-000001.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return sum(line["route"] == "bandit" for line in lines)


def test_ratings_teach_every_worker_alike(learning: Gateway) -> None:
    """Whichever worker took a rating: all have learned from all of them, in the same order."""
    before = scores(learning, "bandit")
    earlier = bandit_ratings(learning)
    rate_petit(learning, 8)

    def counts() -> set[int]:
        return {learned(learning, "bandit") for _ in range(16)}

    eventually(lambda: counts() == {earlier + 8}, what="all workers to have learned from all")
    after = [scores(learning, "bandit") for _ in range(16)]
    assert all(each == after[0] for each in after)
    assert after[0] != before


def test_ratings_outlive_a_killed_process(learning_config: dict[str, Any], tmp_path: Path) -> None:
    """F15: what was rated is on disk before its sender knows, and is learned again."""
    arguments = ("--data-dir", str(tmp_path))
    with running(learning_config, arguments=arguments) as gateway:
        rate_petit(gateway, 4)
        eventually(lambda: learned(gateway, "bandit") == 4, what="the ratings to be learned")
        after = scores(gateway, "bandit")
        for process in gateway.processes():
            process.kill()
        gateway.process.wait()
    with running(learning_config, arguments=arguments) as gateway:
        assert learned(gateway, "bandit") == 4
        assert scores(gateway, "bandit") == after


def test_personalized_router_learns_for_the_one_who_rates(learning: Gateway) -> None:
    """A caller who is served badly is soon served by another model; everybody else hardly notices."""
    first = learning.chat(model="personalized", prompt=PROMPT, key=SMALL_KEY).json["model"]

    def next_model() -> str:
        reply = learning.chat(model="personalized", prompt=PROMPT, key=SMALL_KEY)
        rate(learning, reply.headers["x-request-id"], float(reply.json["model"] != first), key=SMALL_KEY)
        return reply.json["model"]

    eventually(lambda: next_model() != first, what="another model for this caller")
    learning.chat(model="personalized", prompt=PROMPT)


def test_vector_that_a_thread_made_can_be_learned_by(learning_config: dict[str, Any]) -> None:
    """Slow features come from elsewhere, or not in time; without a vector there is nothing to learn, and no draw."""
    artefact = read_artefact(Path(learning_config["routes"]["bandit"]["router"]))
    candidates = [
        RouteCandidate(model=name, upstream_model=name, provider="openai", price=Price(input_usd_per_token=1e-6))
        for name in MODELS
    ]
    plan = OnlinePlan(artefact, candidates, learned=artefact.router, keep=None, route="bandit", quality=1.0)
    prompt = Prompt(text=PROMPT)

    made = plan.rate(prompt, 5, None, look=plan.look_at(prompt, artefact.features.vector(prompt)))
    late = plan.rate(prompt, 5, None, look=plan.look_at(prompt, "no vector in time"))

    assert isinstance(made, OnlineRating)
    np.testing.assert_array_equal(made.x, artefact.features.vector(prompt))
    assert made.scores == plan.rate(prompt, 5, None).scores
    assert not isinstance(late, OnlineRating)
    assert not plan.remembers(prompt)
