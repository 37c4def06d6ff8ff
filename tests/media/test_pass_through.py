"""Requests that pass through: where they go is the configuration's word, and nothing of the gateway's goes astray."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from harness import dialect
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, base_config, deployment, eventually, running
from harness.taker import Taker
from harness.upstream import Upstream
from harness.wire import assert_error, request_bytes, secret
from routewright.carriage.headers import passed_query
from routewright.carriage.targets import check_path
from routewright.errors import FrontError

ALL = ("search", "plain", "openai-account", "claude-account", "gemini-account")


@pytest.fixture(scope="module")
def passing(upstream: Upstream, taker: Taker) -> Iterator[Gateway]:
    config = base_config(upstream)
    # The first deployment of a provider stands for its account.
    config["model_list"] = [
        deployment("gpt-4o", upstream, "openai-account", model="gpt-4o", api_base=taker["openai-account"].api_base),
        deployment("gpt-4o-mini", upstream, "gpt-4o-mini", model="gpt-4o-mini"),
        deployment("claude", upstream, "claude-account", model="claude-sonnet-4-5", provider="anthropic",
                   api_base=taker["claude-account"].api_base),
        deployment("gemini", upstream, "gemini-account", model="gemini-2.5-pro", provider="gemini",
                   api_base=taker["gemini-account"].api_base.replace("/v1", "/v1beta")),
    ]  # fmt: skip
    root = taker["search"].api_base.removesuffix("/v1")
    config["general_settings"]["pass_through_endpoints"] = [
        {"path": "/search", "target": f"{root}/find", "headers": {"X-Search-Key": "os.environ/TEST_SEARCH_KEY"},
         "cost_per_request": 0.004, "include_subpath": True},
        {"path": "/v1/rerank", "target": f"{taker['plain'].api_base}/exactly", "forward_headers": True},
        {"path": "/open", "target": f"{taker['plain'].api_base}/open", "auth": False},
    ]  # fmt: skip
    config["keys"] += [
        {"key": "sk-two", "alias": "two", "rpm_limit": 2},
        {"key": "sk-listed", "alias": "listed", "models": ["gpt-4o"]},
        {"key": "sk-whole-provider", "alias": "whole", "models": ["openai/*"]},
        {"key": "sk-cents", "alias": "cents", "max_budget": 0.005},
        {"key": "sk-some-money", "alias": "some-money", "max_budget": 0.0205},
        {"key": "sk-tenth-of-a-cent", "alias": "poor", "max_budget": 0.0001},
        {"key": "sk-guarded", "alias": "guarded", "guardrails": ["no-secrets"]},
    ]
    config["guardrails"] = [
        {"guardrail_name": "no-secrets", "litellm_params": {"guardrail": "secrets", "mode": "pre_call"}}
    ]
    with running(config, environment={"TEST_SEARCH_KEY": secret("search")}) as started:
        yield started


@pytest.fixture(autouse=True)
def good(taker: Taker) -> None:
    for name in ALL:
        taker[name].forget()
        taker[name].answers({"ok": True})


def test_configured_path_goes_to_its_target_with_its_own_credential(passing: Gateway, taker: Taker) -> None:
    headers = {"Cookie": "a=b", "X-Custom": "c", "X-Api-Key": "theirs", "X-Litellm-Tags": "t", "Accept": "text/x",
               "X-Search-Key": "theirs"}  # fmt: skip
    taker["search"].answers({"hits": []}, headers={"set-cookie": "x=y", "x-more": "1", "etag": '"e"'})
    reply = passing.request("POST", "/search/deep%20er/x?q=1&key=sk-x&z=%2F", {"what": "dogs"}, headers=headers)
    assert reply.json == {"hits": []}
    taken = taker["search"].last
    assert (taken.method, taken.target) == ("POST", "/search/find/deep%20er/x?q=1&z=%2F")
    assert taken.json == {"what": "dogs"}
    assert taken.headers["x-search-key"] == secret("search")
    assert taken.headers["accept"] == "text/x"
    assert not {"authorization", "cookie", "x-custom", "x-api-key", "x-litellm-tags"} & taken.headers.keys()
    assert taken.headers["host"] == f"127.0.0.1:{taker.port}"
    assert reply.headers["etag"] == '"e"'
    assert reply.headers["llm_provider-x-more"] == "1"
    assert "set-cookie" not in reply.headers
    record = passing.record_of(reply)
    assert (record["endpoint"], record["model"], record["cost_nusd"]) == (
        "pass_through", "pass-through:/search", 4_000_000,
    )  # fmt: skip
    assert (record["is_priced"], record["units"]) == (True, {"requests": 1})
    assert record["tags"] == ["t"]


def test_idempotency_key_is_its_caller_s_own(passing: Gateway, taker: Taker) -> None:
    """T22: to the upstream all callers are one; by another's idempotency key it would give another's answer again."""

    def sent(key: str, given: str) -> str:
        assert passing.request("POST", "/search", {}, key=key, headers={"Idempotency-Key": given}).status == 200
        return str(taker["search"].last.headers["idempotency-key"])

    own = sent(TEAM_KEY, "one")
    assert sent(TEAM_KEY, "one") == own
    assert len({own, sent(TEAM_KEY, "two"), sent("sk-listed", "one")}) == 3


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_any_method_passes_with_its_answer_of_any_kind(passing: Gateway, taker: Taker, method: str) -> None:
    body = None if method == "GET" else b"\x00\xffraw"
    taker["search"].answers(b"<no page>", status=404, headers={"content-type": "text/html"})
    reply = passing.request(method, "/search", body, headers={"Content-Type": "application/x-raw"})
    assert (reply.status, reply.body) == (404, b"<no page>")
    assert reply.headers["x-content-type-options"] == "nosniff"
    taken = taker["search"].last
    assert (taken.method, taken.target, taken.body) == (method, "/search/find", body or b"")
    assert passing.record_of(reply)["cost_nusd"] == 0  # what was refused is not charged


def test_configured_path_wins_over_our_own_and_may_forward_headers(passing: Gateway, taker: Taker) -> None:
    reply = passing.request("POST", "/v1/rerank", {"x": 1}, headers={"X-Custom": "c", "Connection": "x-hop",
                                                                    "X-Hop": "1"})  # fmt: skip
    assert reply.json == {"ok": True}
    taken = taker["plain"].last
    assert taken.target == "/plain/v1/exactly"
    assert taken.headers["x-custom"] == "c"
    assert not {"authorization", "x-hop"} & taken.headers.keys()
    record = passing.record_of(reply)
    assert (record["is_priced"], record["cost_nusd"]) == (False, 0)
    assert passing.request("POST", "/v1/rerank/more", {"x": 1}).status == 404


def test_a_key_is_asked_for_unless_the_configuration_says_otherwise(passing: Gateway, taker: Taker) -> None:
    assert passing.request("POST", "/search", {}, key=None).status == 401
    assert passing.request("POST", "/search", {}, key="sk-wrong").status == 401
    assert not taker["search"].requests
    assert passing.request("GET", "/open", key=None).json == {"ok": True}
    assert "auth: whoever reaches this port may use this path" in passing.output()


def test_limits_and_budgets_hold(passing: Gateway, taker: Taker) -> None:
    assert [passing.request("GET", "/search", key="sk-two").status for _ in range(3)] == [200, 200, 429]
    assert passing.request("GET", "/search", key="sk-cents").status == 200
    reply = passing.request("GET", "/search", key="sk-cents")
    assert (reply.status, reply.error["code"]) == (429, "budget_exceeded")
    assert len(taker["search"].requests) == 3


@pytest.mark.parametrize(
    "path",
    ["/search/../x", "/search/./x", "/search//x", "/search/%2e%2e/x", "/search/..%2fx", "/search/%2E./x",
     "/search/a%5cb", "/search/%252e%252e/x", "/search/%0d%0aX:y", "/search/%00", "/search/%zz", "/openai/v1/../x",
     "/openai/%2e%2e/%2e%2e/x", "/search/x%23y", "/search/x%3fy"],
)  # fmt: skip
def test_a_path_that_could_mean_another_place_is_refused(passing: Gateway, taker: Taker, path: str) -> None:
    reply = passing.request("GET", path)
    assert reply.status in (400, 404), reply.body
    assert not any(taker[name].requests for name in ALL)


def test_an_absolute_target_goes_nowhere_else(passing: Gateway, taker: Taker) -> None:
    for path in ("/openai/http://127.0.0.1:1/x", "/search/@evil.example/x", "/openai/v1@evil.example"):
        passing.request("GET", path)
    assert all(taken.headers["host"] == f"127.0.0.1:{taker.port}" for name in ALL for taken in taker[name].requests)


# --- accounts of providers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "target", "door", "credential"),
    [
        ("/openai/v1/fine_tuning/jobs", "/openai-account/v1/fine_tuning/jobs", "openai-account", "authorization"),
        ("/openai/models", "/openai-account/v1/models", "openai-account", "authorization"),
        ("/anthropic/v1/messages/batches", "/claude-account/v1/messages/batches", "claude-account", "x-api-key"),
        ("/gemini/v1beta/models/g:embedContent", "/gemini-account/v1beta/models/g:embedContent", "gemini-account",
         "x-goog-api-key"),
    ],
)  # fmt: skip
def test_account_of_a_provider_is_reached_with_our_credential(
    passing: Gateway, taker: Taker, path: str, target: str, door: str, credential: str
) -> None:
    headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "b", "OpenAI-Beta": "assistants=v2"}
    reply = passing.request("POST", path, {"x": 1}, headers=headers)
    assert reply.json == {"ok": True}
    taken = taker[door].last
    assert taken.target == target
    assert secret(door) in taken.headers[credential]
    assert TEAM_KEY not in str(taken.headers)
    assert taken.headers["anthropic-version"] == "2023-06-01"
    assert passing.record_of(reply)["model"].endswith("/*")


def test_google_clients_put_their_key_where_they_are_used_to(passing: Gateway, taker: Taker) -> None:
    reply = passing.request("GET", f"/gemini/v1beta/models?pageSize=3&key={TEAM_KEY}", key=None)
    assert reply.status == 200
    assert taker["gemini-account"].last.target == "/gemini-account/v1beta/models?pageSize=3"
    reply = passing.request("GET", "/gemini/v1beta/models", key=None, headers={"x-goog-api-key": TEAM_KEY})
    assert reply.status == 200


@pytest.mark.parametrize(
    ("usage", "tokens", "cost"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, (10, 5), 10 * 1000 + 5 * 4000),
        ({"input_tokens": 10, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 0}}, (10, 5),
         10 * 1000 + 5 * 4000),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_stream", [False, True])
def test_tokens_of_a_known_model_are_priced(
    passing: Gateway, taker: Taker, usage: dict[str, Any], tokens: tuple[int, int], cost: int, is_stream: bool
) -> None:
    answer = {"model": "gpt-4o-2024-08-06", "x": "y" * 30_000, "usage": usage}
    if is_stream:
        events = [dialect.event({"model": "gpt-4o-2024-08-06"}), dialect.event(answer), dialect.DONE]
        taker["openai-account"].sends(*dialect.chunked_stream(events))
    else:
        taker["openai-account"].answers(answer)
    reply = passing.request("POST", "/openai/v1/chat/completions", {"model": "gpt-4o"})
    record = passing.record_of(reply)
    assert (record["prompt_tokens"], record["completion_tokens"]) == tokens
    assert (record["cost_nusd"], record["is_priced"]) == (cost, True)


def test_whole_accounts_are_for_keys_that_may_use_all_of_a_provider(passing: Gateway, taker: Taker) -> None:
    reply = passing.request("GET", "/openai/v1/models", key="sk-listed")
    assert (reply.status, reply.error["code"]) == (403, "model_access_denied")
    assert not taker["openai-account"].requests
    assert passing.request("GET", "/openai/v1/models", key="sk-whole-provider").status == 200
    assert passing.request("GET", "/openai/v1/models", key=MASTER_KEY).status == 200
    assert passing.request("GET", "/openai/v1/models", key=None).status == 401
    assert passing.request("GET", "/cohere/v1/models").status == 404  # no such deployment


def test_key_with_guardrails_reaches_no_account_around_them(passing: Gateway, taker: Taker) -> None:
    reply = passing.request("POST", "/openai/v1/files", b"--x", key="sk-guarded", headers={"Content-Type": "a/b"})
    assert_error(reply, 403, "permission_denied")
    assert not taker["openai-account"].requests
    assert passing.request("GET", "/openai/v1/files", key="sk-guarded").status == 200
    assert passing.request("GET", "/search", key="sk-guarded").status == 200


def test_client_that_leaves_ends_the_request_upstream(passing: Gateway, taker: Taker) -> None:
    with passing.connect() as client:
        head = {"Content-Length": "1000000", "X-Request-Id": "left-passing"}
        client.send(request_bytes("POST", "/search", key=TEAM_KEY, headers=head) + b"x" * 1000)
        eventually(lambda: taker["search"].requests and taker["search"].last.length == 1000, what="the beginning")
        client.reset()
    eventually(lambda: taker["search"].last.was_cut, what="the end upstream")
    eventually(lambda: passing.records_of("left-passing"), what="a record")
    assert passing.records_of("left-passing")[0]["ended"] == "client_gone"


def test_upstream_that_redirects_or_leaves(passing: Gateway, taker: Taker) -> None:
    taker["search"].answers(b"", status=302, headers={"location": "http://169.254.169.254/latest"})
    reply = passing.request("GET", "/search")
    assert reply.status == 302
    assert "location" not in reply.headers
    taker["search"].sends(b"")
    reply = passing.request("GET", "/search")
    assert (reply.status, reply.error["code"]) == (502, "upstream_error")
    assert passing.record_of(reply)["ended"] == "upstream_failed"


# --- parts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/", "/a/b", "/a%20b", "/v1/models/x:y", "/~a/b-c_d.e", "/a...b", "/%C3%BC"])
def test_usual_paths_pass(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize(
    "path",
    ["/..", "/a/..", "/.", "//a", "/a%2fb", "/a\\b", "/%2e", "/%25", "/%", "/a b", "/..;/b", "/a/.%2e;x=1/b"],
)
def test_odd_paths_do_not(path: str) -> None:
    with pytest.raises(FrontError):
        check_path(path)


@pytest.mark.parametrize(
    ("query", "passed"),
    [("", ""), ("a=1", "a=1"), ("key=x", ""), ("a=1&key=x&b=2", "a=1&b=2"), ("k%65y=x&c=1", "c=1"),
     ("monkey=1", "monkey=1"), ("key=x&%6bey=y", "")],
)  # fmt: skip
def test_query_without_a_credential(query: str, passed: str) -> None:
    assert passed_query(query) == passed


# --- what is reserved before a provider hears of a request ------------------------------------------------------------


def test_account_is_not_reached_past_a_budget_by_many_at_once(passing: Gateway, taker: Taker) -> None:
    """T9, R9: each of these may cost 100 * 1 + 1000 * 4 micro-dollars at most, and the key has 20,500."""
    taker["openai-account"].answers({"model": "gpt-4o", "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    taker["openai-account"].may_read.clear()  # and so does not answer
    body = {"model": "gpt-4o-2024-08-06", "messages": [{"role": "user", "content": "x " * 185}], "max_tokens": 1000}
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(passing.request("POST", "/openai/v1/chat/completions", body, key="sk-some-money").status)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(statuses) == 7, what="refusals of those that do not fit")
    taker["openai-account"].may_read.set()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 5 + [429] * 7
    assert len(taker["openai-account"].requests) == 5


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/openai/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "model": "gpt-4o"}),
        ("/openai/v1/chat/completions", {"messages": [{"role": "user", "content": "x" * 300_000}]}),
        ("/anthropic/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": []}),
        ("/gemini/v1beta/models/gemini-2.5-pro:generateContent", {"contents": [{"parts": [{"text": "x"}]}]}),
    ],
)  # fmt: skip
def test_request_that_may_be_dearer_than_a_budget_is_refused_before_its_provider_sees_a_byte(
    passing: Gateway, taker: Taker, path: str, body: dict[str, Any]
) -> None:
    reply = passing.request("POST", path, body, key="sk-tenth-of-a-cent")
    assert reply.status == 429
    assert "this request may cost" in reply.error["message"]  # in the shape that its client reads
    assert not any(taker[name].requests for name in ALL)


def test_what_is_no_request_to_a_model_reserves_nothing(passing: Gateway, taker: Taker) -> None:
    for method, body in (("GET", None), ("POST", {"model": "gpt-4o", "training_file": "file-1"}), ("POST", b"no json")):
        assert passing.request(method, "/openai/v1/fine_tuning/jobs", body, key="sk-tenth-of-a-cent").status == 200


def test_answer_that_is_fetched_again_is_not_paid_again(passing: Gateway, taker: Taker) -> None:
    usage = {"input_tokens": 10, "output_tokens": 5}
    taker["openai-account"].answers({"id": "resp_1", "model": "gpt-4o", "usage": usage})
    record = passing.record_of(passing.request("GET", "/openai/v1/responses/resp_1"))
    assert (record["prompt_tokens"], record["cost_nusd"]) == (0, 0)


@pytest.mark.parametrize("is_stream", [True, False])
def test_answer_that_tells_no_usage_is_counted_by_its_length(passing: Gateway, taker: Taker, is_stream: bool) -> None:
    """OpenAI's streams tell none unless they are asked to."""
    if is_stream:
        events = [dialect.event({"model": "gpt-4o", "choices": []}) for _ in range(7)]
        taker["openai-account"].sends(*dialect.chunked_stream(events))
    else:
        taker["openai-account"].answers({"model": "gpt-4o", "text": "x" * 400})
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x y " * 100}], "stream": is_stream}
    record = passing.record_of(passing.request("POST", "/openai/v1/chat/completions", body))
    assert (record["usage_estimated"], record["is_priced"]) == (True, True)
    assert 100 <= record["prompt_tokens"] < 120
    assert record["completion_tokens"] in ((7,) if is_stream else range(100, 120))
    assert record["cost_nusd"] == record["prompt_tokens"] * 1000 + record["completion_tokens"] * 4000


def test_client_that_leaves_a_stream_pays_for_what_has_come(passing: Gateway, taker: Taker) -> None:
    """T10."""
    events = [dialect.event({"model": "gpt-4o", "choices": []}) for _ in range(5)]
    pieces = dialect.chunked_stream(events)[:-1]
    taker["openai-account"].sends(*pieces, *[dialect.http_chunk(b": wait\n\n")] * 2000)
    body = dialect.to_json({"model": "gpt-4o", "messages": [{"role": "user", "content": "x y " * 100}], "stream": True})
    with passing.connect() as client:
        head = {"X-Request-Id": "left-account", "Content-Type": "application/json"}
        client.send(request_bytes("POST", "/openai/v1/chat/completions", key=TEAM_KEY, headers=head, body=body))
        client.socket.recv(4096)
        eventually(lambda: taker["openai-account"].requests, what="the request")
        time.sleep(0.2)
        client.reset()
    eventually(lambda: passing.records_of("left-account"), what="a record")
    (record,) = passing.records_of("left-account")
    assert (record["ended"], record["usage_estimated"]) == ("client_gone", True)
    assert record["prompt_tokens"] >= 100
    assert 1 <= record["completion_tokens"] <= 5
    assert record["cost_nusd"] > 100 * 1000
