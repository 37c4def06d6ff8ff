"""The pages over a real Postgres: the flows that touch the store most, by hand in Chromium, and what only sums show."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_pages_in_chromium import (
    chromium,
    page,
    router_file,
    test_kept_prompt_and_answer_are_shown_as_text_and_others_are_not,
    test_key_is_made_used_seen_blocked_and_refused,
    test_logging_out_ends_it,
    test_no_page_of_a_desk_needs_sideways_scrolling,
    test_overview_stays_fresh,
    test_router_is_reloaded_and_rolled_back,
)

from harness.browser import PROGRAM, Page
from harness.gateway import MASTER_KEY, Gateway, base_config, eventually, running
from harness.postgres import Postgres
from harness.upstream import Upstream

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs the program chromium")
__all__ = [
    "chromium",
    "page",
    "router_file",
    "test_kept_prompt_and_answer_are_shown_as_text_and_others_are_not",
    "test_key_is_made_used_seen_blocked_and_refused",
    "test_logging_out_ends_it",
    "test_no_page_of_a_desk_needs_sideways_scrolling",
    "test_overview_stays_fresh",
    "test_router_is_reloaded_and_rolled_back",
]


@pytest.fixture(scope="module")
def site(upstream: Upstream, postgres: Postgres, router_file: Path) -> Iterator[Gateway]:
    config = base_config(upstream)
    config["routes"]["auto"]["router"] = str(router_file)
    address = postgres.new_database()
    with running(config, workers=2, environment={"DATABASE_URL": address}) as started:
        started.chat("auto", key=MASTER_KEY)
        yield started
    postgres.drop(address)


def test_every_span_and_filter_is_answered_and_exported(page: Page, site: Gateway) -> None:
    eventually(lambda: b"gpt-4o" in site.request("GET", "/global/spend/models", key=MASTER_KEY).body)
    for path, shown in (
        ("/ui?span=24h", "gpt-4o"), ("/ui?span=7d", "gpt-4o"), ("/ui?span=30d", "gpt-4o"),
        ("/ui/requests?route=auto", "auto"), ("/ui/requests?failed=1", "No request fits"),
        ("/ui/requests?since=24h&model=gpt-4o", "Newest") , ("/ui/router", "Choices over time"),
    ):  # fmt: skip
        page.open(path)
        if shown != "Newest":
            page.sees(shown)
        assert page.faults() == [], path
    cookie = "; ".join(f"{each['name']}={each['value']}" for each in page.cookies())
    table = site.request("GET", "/ui/spend.csv", key=None, headers={"cookie": cookie}).body.decode()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert sum(int(row["requests"]) for row in rows) >= 1
