"""What may be spent at a provider is spent once, whichever door leads there: accounts, forms, batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness import dialect
from harness.accounts import Accounts
from harness.gateway import Gateway, base_config, deployment, eventually, running
from harness.taker import Taker
from harness.upstream import Upstream
from harness.wire import Reply
from objects.asking import form, jsonl, line, part, start_batch, upload

PRICE = 1e-4
"""US dollars per output token; input is free, so an answer of ten tokens costs a tenth of a cent."""
CAP = {"budget_limit": 0.0035, "time_period": "30d"}
"""For three answers, and not for four."""


@pytest.fixture(scope="module")
def capped(upstream: Upstream, taker: Taker, accounts: Accounts) -> Iterator[Gateway]:
    config = base_config(upstream, router_settings={"num_retries": 0})
    prices = {"input_cost_per_token": 0, "output_cost_per_token": PRICE}
    config["model_list"] = [
        deployment("talk", upstream, "talk", provider="mistral", api_base=taker["talk"].api_base, **prices),
        deployment("ears", upstream, "ears", model="whisper-large-v3", provider="groq", input_cost_per_second=0.01,
                   api_base=taker["ears"].api_base),
        deployment("many", upstream, "many", api_base=accounts["many"].api_base, **prices,
                   output_cost_per_token_batches=PRICE),
        deployment("own", upstream, "own", provider="cohere", max_budget=0.0035, budget_duration="30d",
                   api_base=taker["own"].api_base.removesuffix("/v1"), **prices),
    ]  # fmt: skip
    config["router_settings"]["provider_budget_config"] = {"mistral": CAP, "groq": CAP, "openai": CAP}
    del config["routes"]
    answer = dialect.chat_completion("hi", usage=dialect.usage(1, 10))
    for name in ("talk", "own"):
        taker[name].answers({**answer, "model": name})
    taker["ears"].answers({"text": "hi", "duration": 0.1})
    with running(config) as started:
        yield started


def by_account(gateway: Gateway) -> Reply:
    body = {"model": "talk", "messages": [{"role": "user", "content": "x"}], "max_tokens": 10}
    return gateway.request("POST", "/mistral/v1/chat/completions", body)


def by_account_of_a_deployment(gateway: Gateway) -> Reply:
    body = {"model": "own", "messages": [{"role": "user", "content": "x"}], "max_tokens": 10}
    return gateway.request("POST", "/cohere/compatibility/v1/chat/completions", body)


def by_form(gateway: Gateway) -> Reply:
    body = form(part("model", b"ears"), part("file", b"x" * 100, "a.mp3"))
    headers = {"Content-Type": "multipart/form-data; boundary=xYzZY-boundary-2"}
    return gateway.request("POST", "/v1/audio/transcriptions", body, headers=headers)


def by_batch(gateway: Gateway) -> Reply:
    made = upload(gateway, jsonl(line(1, model="many", max_tokens=10)))
    assert made.status == 200, made.body  # files are free of charge
    return start_batch(gateway, made.json["id"])


@pytest.mark.parametrize(
    ("door", "beside"),
    [(by_account, "talk"), (by_form, ""), (by_batch, "many"), (by_account_of_a_deployment, "")],
)  # fmt: skip
def test_budget_of_a_provider_holds_at_every_door(
    capped: Gateway, door: Callable[[Gateway], Reply], beside: str
) -> None:
    replies = [door(capped) for _ in range(5)]
    assert [reply.status for reply in replies] == [200, 200, 200, 503, 503], [reply.body for reply in replies]
    assert "budget" in replies[3].error["message"]
    if beside:  # and what was spent there is spent for chats too
        assert capped.chat(beside, max_tokens=10).status == 503


def test_what_a_batch_did_not_use_comes_back_to_its_providers_budget(capped: Gateway, accounts: Accounts) -> None:
    many = accounts["many"]
    assert by_batch(capped).status == 503
    for batch_id in list(many.batches):
        many.finish(batch_id, [dialect.usage(1, 1)], tells_usage=True)
        capped.request("GET", f"/v1/batches/{batch_id}")
    eventually(lambda: by_batch(capped).status == 200, what="room for another")
    capped.terminate()
    capped.wait()
    capped.start_again()
    assert [by_batch(capped).status for _ in range(3)] == [200, 200, 503]  # three of a tenth used one tenth each
