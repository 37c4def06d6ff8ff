"""Models that say what a test wants them to say, and the routes that ask them more than once."""

from __future__ import annotations

from typing import Any

from harness.dialect import chat_completion, response, to_json, usage
from harness.gateway import Gateway, base_config, deployment
from harness.upstream import Play, Request, Send, Upstream
from harness.wire import secret

CHEAP, MIDDLE, DEAR, PLANNER = "cheap", "middle", "dear", "planner"
FEW_KEY, SINGLE_KEY, TOKENS_KEY, ROUTE_KEY = secret("few"), secret("single"), secret("tokens"), secret("route")
POOR_KEY = secret("poor")


class Speaker:
    """One model: says these answers one after the other (the last again and again), and keeps its own bill."""

    def __init__(self, upstream: Upstream, name: str) -> None:
        self.deployment = upstream[name]
        self.name = name
        self.says()

    def says(self, *answers: Any, **shape: Any) -> None:
        """Each answer is a text, a body, or bytes of a response; without one: hello."""
        self.deployment.forget()
        self.tokens = 0
        self._answers = list(answers) or [f"Hello from {self.name}"]
        self._shape = shape
        self.deployment.runs(self._play)

    def _play(self, request: Request) -> Play:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if callable(answer):
            return answer(request)
        if isinstance(answer, bytes):
            return [Send(answer)]
        if request.json.get("stream"):
            return self.deployment._answer_well(request)
        body = said(answer, **self._shape) if isinstance(answer, str) else answer
        used = body["usage"]
        self.tokens += used["prompt_tokens"] + used["completion_tokens"]
        return [Send(response(200, to_json(body)))]

    @property
    def hits(self) -> int:
        return self.deployment.hits


def said(
    text: str | None, *, finish: str = "stop", logprob: float | None = None, used: tuple[int, int] = (9, 3)
) -> Any:
    """A chat completion with this text and ending."""
    body = chat_completion(text)
    choice = body["choices"][0]
    choice["finish_reason"] = finish
    if logprob is not None:
        choice["logprobs"] = {"content": [{"token": "x", "logprob": logprob, "top_logprobs": []}] * 3, "refusal": None}
    body["usage"] = usage(*used)
    return body


def config(upstream: Upstream) -> dict[str, Any]:
    prices = {CHEAP: 1e-7, MIDDLE: 1e-6, DEAR: 1e-5}
    made = base_config(upstream, router_settings={"num_retries": 0, "disable_cooldowns": True})
    made["model_list"] += [
        deployment(name, upstream, name, input_cost_per_token=price, output_cost_per_token=4 * price)
        for name, price in prices.items()
    ]
    made["model_list"].append(deployment(PLANNER, upstream, PLANNER))
    made["model_list"].append(deployment("mute", upstream, "mute", input_cost_per_token=1e-8))
    candidates = {"candidates": list(prices)}
    made["routes"] |= {
        "cascade": {**candidates, "router": "cascade"},
        "sure": {**candidates, "router": "cascade", "router_args": {"verify": ["logprob"], "min_logprob": -0.5}},
        "unlogged": {"candidates": ["mute", DEAR], "router": "cascade", "router_args": {"verify": ["logprob"]}},
        "votes": {**candidates, "router": "llmrouter-automix", "router_args": {"verify": ["agreement"]}},
    }
    rounds = {**candidates, "router_args": {"planner": "planner", "max_parts": 3, "max_part_tokens": 200}}
    made["routes"] |= {
        "multiround": {**rounds, "router": "llmrouter-multiround"},
        "placed": {**rounds, "router": "llm-multiround"},
        "r1": {**rounds, "router": "r1"},
        "mean": {**candidates, "router": "r1", "router_args": {"planner": "planner", "max_cost_usd": 0.001}},
        "terse": {**rounds, "router": "r1", "router_args": {**rounds["router_args"], "max_output_tokens": 900}},
    }
    made["keys"] += [
        {"key": FEW_KEY, "alias": "few", "rpm_limit": 2},
        {"key": ROUTE_KEY, "alias": "route", "models": ["r1", "placed"]},
        {"key": SINGLE_KEY, "alias": "single", "max_parallel_requests": 1},
        {"key": TOKENS_KEY, "alias": "tokens", "tpm_limit": 3000},
        {"key": POOR_KEY, "alias": "poor", "max_budget": 0.00002},
    ]
    return made


def bill_of(gateway: Gateway, request_id: str) -> dict[str, int]:
    """What the records of one request add up to."""
    records = gateway.records_of(request_id)
    return {
        "tokens": sum(record["prompt_tokens"] + record["completion_tokens"] for record in records),
        "attempts": sum(record["attempts"] for record in records),
        "requests": sum(not (record["decision"] or {}).get("part_of") for record in records),
        "cost_nusd": sum(record["cost_nusd"] for record in records),
    }
