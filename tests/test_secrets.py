"""K in RELIABILITY.md: no credential in any answer, log, metric, page or file.

Every raw client of the suite searches what it receives, and every gateway's output and data folder are searched when it
ends. Here are the ways in which secrets have come out of gateways.
"""

from __future__ import annotations

import pytest

from harness import dialect
from harness.gateway import MASTER_KEY, SMALL_KEY, TEAM_KEY, Gateway, base_config, eventually, running
from harness.models import Model
from harness.upstream import Upstream
from harness.wire import assert_no_secret, secret

PAGES = [
    "/health", "/health/readiness", "/metrics", "/models", "/v1/models", "/router/info", "/docs", "/openapi.json",
    "/routes", "/model/info", "/nothing",
]  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("key", [None, SMALL_KEY, TEAM_KEY, MASTER_KEY, secret("nobody")])
def test_page_shows_no_secret(page: str, key: str | None, gateway: Gateway) -> None:
    for target in (page, f"{page}?key={secret('query')}", f"{page}/{secret('path')}"):
        reply = gateway.request("GET", target, key=key, headers={"x-litellm-trace-id": secret("trace")})
        assert_no_secret(repr(reply).encode(), target)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": secret("as-a-model")},
        {"max_tokens": secret("as-a-number")},
        {secret("as-a-name"): 1, "max_tokens": 0},
        {"api_key": secret("as-a-field")},
        {"messages": secret("as-messages")},
        {"routing": {"quality": secret("as-quality")}},
    ],
)
def test_error_repeats_no_secret(fields: dict, gateway: Gateway) -> None:
    """R27: a caller who pastes a key into the wrong place does not find it in the answer or the log."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], **fields}
    reply = gateway.request("POST", "/chat/completions", body)
    assert reply.status in (200, 400, 404)


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 422, 429, 500, 503])
@pytest.mark.parametrize("stream", [False, True])
def test_upstream_s_words_carry_no_secret_out(status: int, stream: bool, gateway: Gateway, two: Model) -> None:
    """T16: our key, another key, an inner address, in body and headers, whatever the status."""
    keys = f"{secret(two.first.name)} Bearer {secret('other')} api_key={secret(two.first.name)}"
    error = dialect.openai_error(f"refused: {keys}", code=secret("code"), param=secret("param"), type=secret("type"))
    for each in (two.first, two.second):
        each.answers(status, error, {"X-Debug": keys, "Location": f"http://127.0.0.1:1/{secret('location')}"})

    reply = gateway.chat(model=two.name, stream=stream)

    assert reply.status >= 400


def test_prompts_are_not_written_down(gateway: Gateway) -> None:
    """T17: prompts and answers stay out of journal and log."""
    prompt = "the moon is made of unusual-prompt-words"
    assert gateway.chat(model="auto", prompt=prompt).status == 200
    assert gateway.chat(model="auto", prompt=prompt, max_tokens=-1).status == 400
    assert gateway.chat(prompt=prompt, stream=True).status == 200

    written = gateway.output() + str(gateway.journal())
    assert "unusual-prompt-words" not in written
    assert "Hello from" not in written


def test_nothing_written_so_far_holds_a_secret(gateway: Gateway) -> None:
    gateway.search_for_secrets()


def test_other_users_cannot_read_what_is_written(gateway: Gateway) -> None:
    """The journal names keys and models; it is for the account that runs the gateway."""
    files = list((gateway.data_dir / "journal").iterdir())
    assert files
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)


def test_addresses_with_passwords_in_them_are_written_nowhere(upstream: Upstream) -> None:
    """K: of the database, reachable or not, of the webhook, and of what seals stored credentials."""
    config = base_config(upstream, general_settings={"alert_to_webhook_url": f"http://127.0.0.1:9/{secret('webhook')}"})
    config["keys"].append({"key": secret("soft"), "alias": "soft", "soft_budget": 0.000000001})
    environment = {
        "DATABASE_URL": f"postgresql://gateway:{secret('database-password')}@127.0.0.1:9/routewright",
        "LITELLM_SALT_KEY": secret("salt"),
    }
    with running(config, environment=environment) as gateway:
        reply = gateway.request("POST", "/key/generate", {}, key=MASTER_KEY)
        assert reply.status == 503
        assert_no_secret(repr(reply).encode(), "the answer")
        assert gateway.chat(key=secret("soft")).status == 503, "what it has spent can't be known"
        eventually(lambda: "the database can't be reached" in gateway.output())
        for page in PAGES:
            assert_no_secret(repr(gateway.request("GET", page, key=MASTER_KEY)).encode(), page)
        for process in gateway.processes():
            assert_no_secret(" ".join(process.cmdline()).encode(), "a command line")
