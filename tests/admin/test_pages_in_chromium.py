"""The pages as people use them: in a real Chromium, by mouse and keyboard, with its console watched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.admin import manage, new_key
from harness.browser import DESK, PHONE, PROGRAM, Browser, Page, browser
from harness.gateway import MASTER_KEY, Gateway, base_config, deployment, eventually, running
from harness.upstream import Upstream
from routewright.routing.artefact import artefact_bytes, read_artefact
from routewright.routing.live import PACKAGED

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs the program chromium")
LONG = "a-name-that-somebody-has-made-of-all-that-came-to-mind-" * 4
EVIL = "<script>document.title='owned'</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def router_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file: Path = tmp_path_factory.mktemp("router") / "mine.safetensors"
    shutil.copy(PACKAGED, file)
    return file


@pytest.fixture(scope="module")
def site(upstream: Upstream, router_file: Path) -> Iterator[Gateway]:
    """A gateway whose every stored field tries to be a script."""
    config = base_config(upstream)
    config["routes"]["auto"]["router"] = str(router_file)
    config["model_list"].append(deployment(EVIL, upstream, "evil"))
    with running(config, workers=2) as started:
        manage(started, "/organization/new", {"organization_id": "evil-org", "organization_alias": EVIL})
        manage(
            started,
            "/team/new",
            {
                "team_id": "evil-team",
                "organization_id": "evil-org",
                "team_alias": EVIL,
                "max_budget": 1.0,
                "models": [EVIL],
            },
        )
        manage(started, "/team/new", {"team_id": LONG, "team_alias": LONG, "organization_id": "evil-org"})
        manage(started, "/user/new", {"user_id": "evil-user", "user_alias": EVIL, "auto_create_key": False})
        manage(started, "/budget/new", {"budget_id": "<script>x</script>", "max_budget": 2.0})
        made = manage(started, "/key/generate", {"key_alias": EVIL, "team_id": "evil-team", "metadata": {"a": EVIL}})
        started.chat(EVIL, key=made["key"], user=EVIL, metadata={"tags": [EVIL, LONG]})
        started.chat("auto", key=MASTER_KEY)
        yield started


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def page(chromium: Browser, site: Gateway) -> Iterator[Page]:
    """Logged in; and afterwards, that the console had nothing to complain of."""
    opened = chromium.page
    opened.base = site.url
    opened.look()
    opened.forget()
    opened.open("/ui/login")
    opened.type("#key", MASTER_KEY)
    opened.press("Enter", 13)
    opened.until("location.pathname === '/ui' && document.readyState === 'complete'")
    yield opened
    assert opened.problems == []


def test_every_page_is_well_formed_for_everybody(page: Page, site: Gateway) -> None:
    """No error, nothing refused, no serious fault for accessibility, no script run from a stored field, no page wider
    than a phone; in light and dark."""
    row = manage(site, "/key/list?return_full_object=true&team_id=evil-team")["keys"][0]
    logs = manage(site, "/spend/logs?limit=5")
    paths = ["/ui", "/ui/requests", "/ui/router", "/ui/models", "/ui/keys", "/ui/teams", "/ui/budgets",
             "/ui/organizations", "/ui/organizations/evil-org", "/ui/playground", "/ui/audit",
             f"/ui/keys/{row['token']}", "/ui/teams/evil-team", f"/ui/teams/{LONG}"]  # fmt: skip
    paths += [f"/ui/requests/{log['request_id']}" for log in logs]
    for is_dark, path in [(place % 2 == 1, path) for place, path in enumerate(paths)]:
        page.look(DESK, is_dark=is_dark)
        page.open(path)
        assert page.faults() == [], path
        assert page.run("document.title").endswith("routewright"), path
        assert page.run("document.querySelectorAll('img').length") == 0, path
        assert page.run("document.documentElement.scrollWidth <= innerWidth"), path
        page.look(PHONE, is_dark=not is_dark)
        assert page.run("document.documentElement.scrollWidth <= innerWidth"), path
    page.look()
    page.open("/ui/keys")
    page.sees(EVIL)


def test_key_is_made_used_seen_blocked_and_refused(page: Page, site: Gateway) -> None:
    page.open("/ui/keys")
    page.click("New key")
    page.type("#key_alias", "made by hand")
    page.type("#max_budget", "3")
    page.click("Make key")
    page.sees("It is shown this once")
    key = page.run("document.getElementById('the-key').textContent")
    reply = site.chat("gpt-4o-mini", key=key)
    assert reply.status == 200
    page.click("Done")
    page.sees("made by hand")
    assert key not in page.run("document.documentElement.outerHTML")
    page.open("/ui/requests?model=gpt-4o-mini")
    page.until("document.body.innerText.includes('made by hand') || (location.reload(), false)")
    page.click("tbody a")
    page.sees("Attempts")
    page.click("made by hand")
    page.until("location.pathname.startsWith('/ui/keys/')")
    page.click("Block")
    page.sees("Unblock")
    assert site.chat("gpt-4o-mini", key=key).status == 401
    page.open("/ui/audit?kind=key")
    page.sees("blocked")


def test_organization_is_made_and_a_team_put_into_it(page: Page, site: Gateway) -> None:
    page.open("/ui/organizations")
    page.click("New organization")
    page.type("#alias", "the whole house")
    page.type("#own-id", "house")
    page.type("#max_budget", "7")
    page.click("Make organization")
    page.sees("the whole house")
    page.open("/ui/teams")
    page.click("New team")
    page.type("#alias", "attic")
    page.set("#organization_id", "house")
    page.click("Make team")
    page.sees("attic")
    page.open("/ui/organizations/house")
    page.sees("attic")
    page.click("Block")
    page.sees("Unblock")
    row = manage(site, "/organization/info?organization_id=house")
    assert (row["blocked"], [team["team_alias"] for team in row["teams"]]) == (True, ["attic"])


def test_kept_prompt_and_answer_are_shown_as_text_and_others_are_not(page: Page, site: Gateway) -> None:
    key = new_key(site, metadata={"store_prompts_in_spend_logs": True})
    for shown, reply in (
        (True, site.chat("gpt-4o-mini", key=key, prompt=f"kept words {EVIL}")),
        (False, site.chat("gpt-4o-mini", key=MASTER_KEY, prompt=f"other words {EVIL}")),
    ):
        page.open("/ui")
        path = f"/ui/requests/{reply.headers['x-request-id']}"
        eventually(lambda path=path: manage(site, f"/spend/logs?request_id={path.rpartition('/')[2]}"))
        before = manage(site, "/audit?kind=prompt")["audit_logs"]  # who waits there reads too
        page.open(path)
        page.sees("Attempts")
        assert page.run("document.title").endswith("routewright")
        assert page.run("document.querySelectorAll('img').length") == 0
        if shown:
            assert f"kept words {EVIL}" in page.text()
            assert "Hello from" in page.text()
            assert page.faults() == []
            read = manage(site, "/audit?kind=prompt")["audit_logs"]
            assert len(read) == len(before) + 1
            assert {(row["actor"], row["action"], row["object_id"]) for row in read} == {
                ("master", "read", path.rpartition("/")[2])
            }
        else:
            assert "other words" not in page.run("document.documentElement.outerHTML")
            page.sees("are not kept")


def test_no_page_of_a_desk_needs_sideways_scrolling(page: Page) -> None:
    """Of tables and charts, with names as long as they are here."""
    for path in ("/ui", "/ui/requests", "/ui/models", "/ui/router", "/ui/keys", "/ui/teams", "/ui/budgets"):
        page.open(path)
        wide = page.run("""[...document.querySelectorAll('main, .scroll')].filter(
            (e) => e.scrollWidth > e.clientWidth + 1).map(
            (e) => `${e.getAttribute('aria-label') || e.tagName} by ${e.scrollWidth - e.clientWidth}`)""")
        assert wide == [], path


def test_names_of_the_curve_lie_apart(page: Page) -> None:
    page.open("/ui/router")
    boxes = page.run("""[...document.querySelectorAll('.chart .name, .chart .dial-text')].map((e) => {
        const box = e.getBoundingClientRect();
        return [box.left, box.top, box.right, box.bottom, e.textContent];
    })""")
    assert len(boxes) > 2
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] + 3 or other[3] <= one[1] + 3
            assert apart, (one, other)


def test_prompt_is_tried_and_the_dial_redraws(page: Page) -> None:
    page.open("/ui/router")
    page.type("#prompt", "Prove that the square root of 2 is irrational, and that it is not algebraic of degree one.")
    page.click("Where would it go?")
    page.sees("Confidence")
    chosen = []
    for dial in ("0", "1"):
        page.set("#dial", dial)
        chosen.append(page.run("document.querySelector('#tried .tag').parentElement.textContent"))
    assert "gpt-4o-mini" in chosen[0]
    assert "mini" not in chosen[1]


def test_router_is_reloaded_and_rolled_back(page: Page, site: Gateway, router_file: Path) -> None:
    first = manage(site, "/router/info")["routes"]["auto"]["artefact"]
    other = replace(read_artefact(PACKAGED), created="2026-02-03T00:00:00+00:00")
    page.open("/ui/router")
    router_file.write_bytes(artefact_bytes(other))
    page.click("Reload")
    page.until(f"!document.querySelector('.tile').textContent.includes({json.dumps(first)})")
    page.look(PHONE)
    assert page.run("document.documentElement.scrollWidth <= innerWidth"), "files to go back to fit a phone"
    page.look()
    page.click("Roll back")
    page.until(f"document.querySelector('.tile')?.textContent.includes({json.dumps(first)})")
    # The worker that did it serves it at once, the other one is told.
    eventually(lambda: manage(site, "/router/info")["routes"]["auto"]["artefact"] == first)
    back, reloaded = manage(site, "/audit?kind=router")["audit_logs"][:2]
    assert (back["actor"], back["action"], back["object_id"], back["after"]) == (
        "master", "rolled back", "auto", {"router": first}
    )  # fmt: skip
    assert reloaded["action"] == "reloaded"
    # The file itself is looked at every two seconds, and may have been taken before the click.
    assert first in reloaded["before"]["router"] or reloaded["before"] == reloaded["after"]
    page.open("/ui/audit?kind=router")
    page.sees("rolled back")


def test_playground_streams_two_answers_side_by_side(page: Page, upstream: Upstream) -> None:
    page.open("/ui/playground")
    page.click("#two")
    page.type("#say", "Good morning")
    page.press("Enter", 13, modifiers=2)
    page.until("document.querySelectorAll('.said .assistant').length === 2")
    page.until("document.querySelectorAll('.said .meta').length === 2")
    page.until("!document.body.innerText.includes('cost …')")
    assert "$" in page.run("document.querySelector('.said .meta').textContent")


def test_overview_stays_fresh(page: Page, site: Gateway) -> None:
    page.open("/ui")
    page.until("document.getElementById('live-state').textContent === 'live'")
    before = page.run("document.querySelector('.figure').textContent")
    site.chat("gpt-4o-mini", key=MASTER_KEY)
    page.until(f"document.querySelector('.figure').textContent !== {json.dumps(before)}")


def test_logging_out_ends_it(page: Page) -> None:
    page.click("Log out")
    page.until("location.pathname === '/ui/login'")
    page.open("/ui/keys")
    assert page.path() == "/ui/login"
