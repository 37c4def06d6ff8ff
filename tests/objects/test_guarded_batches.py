"""Guardrails look at every line of a batch's input before any of it goes on."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from harness.accounts import Accounts
from harness.admin import manage, new_key
from harness.gateway import Gateway
from harness.wire import assert_error
from objects.asking import jsonl, line, start_batch, upload
from objects.conftest import GUARDED_KEY, HEARD_KEY, MASKED_KEY

SECRET, MAIL = "AKIAIOSFODNN7EXAMPLE", "ann@example.com"


def saying(number: int, text: str, **body: Any) -> dict[str, Any]:
    return line(number, messages=[{"role": "user", "content": text}], **body)


@pytest.mark.parametrize("is_file_first", [False, True])
def test_line_that_must_not_pass_refuses_the_file_by_its_number(
    owning: Gateway, accounts: Accounts, is_file_first: bool
) -> None:
    held = len(accounts["one"].files)
    lines = jsonl(*[saying(number, "x" * 2000) for number in range(300)], saying(300, f"my key is {SECRET}"))
    reply = upload(owning, lines, key=GUARDED_KEY, is_file_first=is_file_first)
    assert_error(reply, 400, "guardrail_blocked")
    assert reply.error["message"].startswith("line 301 of the file: ")
    assert SECRET not in reply.body.decode()
    record = owning.record_of(reply)
    assert (record["ended"], record["notes"]["blocked_by"]) == ("refused", "no-secrets")
    assert len(accounts["one"].files) == held


@pytest.mark.parametrize("is_file_first", [False, True])
def test_what_is_masked_goes_on_masked(owning: Gateway, accounts: Accounts, is_file_first: bool) -> None:
    """From the first line to a last one without a newline."""
    lines = jsonl(saying(1, f"write to {MAIL}"), saying(2, "nobody"), saying(3, f"or {MAIL}")).strip()
    reply = upload(owning, lines, key=MASKED_KEY, is_file_first=is_file_first)
    assert reply.status == 200, reply.body
    assert reply.headers["x-litellm-applied-guardrails"] == "mask-people"
    sent = [each["body"]["messages"][0]["content"] for each in accounts["one"].lines_of(reply.json["id"])]
    assert (len(sent), sent[1]) == (3, "nobody")
    assert not any(MAIL in text for text in sent)
    assert start_batch(owning, reply.json["id"], key=MASKED_KEY).status == 200


def test_line_may_ask_for_a_guardrail_itself(owning: Gateway, accounts: Accounts) -> None:
    reply = upload(owning, jsonl(saying(1, "x"), saying(2, SECRET, guardrails=["no-secrets"])))
    assert (reply.status, reply.error["code"]) == (400, "guardrail_blocked")
    reply = upload(owning, jsonl(saying(1, SECRET), saying(2, "x", guardrails=["no-secrets"])))
    assert reply.status == 200, reply.body  # of the first nobody has asked it
    assert "guardrails" not in accounts["one"].lines_of(reply.json["id"])[1]["body"]
    reply = upload(owning, jsonl(saying(1, "x", guardrails=["nobody"])))
    assert (reply.status, "line 1" in reply.error["message"]) == (400, True)


def test_batch_is_made_of_a_file_that_its_makers_guardrails_have_seen(owning: Gateway) -> None:
    team = manage(owning, "/team/new", {"team_alias": "half guarded"})["team_id"]
    free, guarded = new_key(owning, team_id=team), new_key(owning, team_id=team, guardrails=["no-secrets"])
    unseen = upload(owning, jsonl(saying(1, SECRET)), key=free).json["id"]
    reply = start_batch(owning, unseen, key=guarded)
    assert (reply.status, "no-secrets" in reply.error["message"]) == (403, True)
    seen = upload(owning, jsonl(saying(1, "x")), key=guarded).json["id"]
    assert [start_batch(owning, seen, key=key).status for key in (guarded, free)] == [200, 200]


def test_answers_of_a_batch_are_looked_at_by_nobody_so_there_is_none(owning: Gateway, accounts: Accounts) -> None:
    held = len(accounts["one"].files)
    reply = upload(owning, jsonl(saying(1, "x")), key=HEARD_KEY)
    assert (reply.status, "looks at answers" in reply.error["message"]) == (403, True)
    assert len(accounts["one"].files) == held
    assert upload(owning, b"x", purpose="user_data", key=HEARD_KEY).status == 200


def test_others_are_answered_while_a_long_file_is_looked_at(owning: Gateway) -> None:
    """Fifteen hundred lines; what is asked meanwhile does not wait for the last of them."""
    lines = jsonl(*[saying(number, f"word {number} " * 20) for number in range(1500)])
    replies: list[int] = []
    sending = threading.Thread(target=lambda: replies.append(upload(owning, lines, key=MASKED_KEY).status))
    sending.start()
    answered = 0
    while sending.is_alive():
        answered += owning.request("GET", "/v1/models").status == 200
    assert replies == [200]
    assert answered > 1
