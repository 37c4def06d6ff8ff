"""What is accepted and what is not, told from the answer alone."""

from __future__ import annotations

import time
from typing import Any

import pytest
from speakers import said

from harness.dialect import TOOL_CALL, chat_completion
from routewright.orchestration.verdict import Verdict, agree, judge
from values import call

ALL = ("truncated", "refused", "schema", "logprob")


def judged(answer: dict[str, Any], checks: tuple[str, ...] = ALL, **fields: Any) -> Verdict:
    return judge(answer, call(**fields), checks, -0.5)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I cannot do that.",
        "Sorry, but I am unable to comply.",
        "As an AI language model, I can't browse.",
        "I cannot assist with this request.",
        "Unfortunately, I won't be able to write this.",
        "  I'm not able to provide that.",
    ],
)
def test_refusal_is_recognised(text: str) -> None:
    assert judged(said(text)).reason == "refused"


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 42.",
        "Sorry is a word with five letters.",
        "I can't believe it: the sum is 7.",
        "You can say: I'm sorry, but I can't come.",
        "As an AI researcher, she cannot rest.",
        "I am sorry for your loss.",
    ],
)
def test_answer_that_only_sounds_like_a_refusal_is_none(text: str) -> None:
    assert judged(said(text)).reason == ""


def test_refusal_of_the_model_own_field_counts() -> None:
    answer = said("")
    answer["choices"][0]["message"]["refusal"] = "No."
    assert judged(answer).reason == "refused"


def test_cut_that_the_caller_asked_for_is_no_fault() -> None:
    """Who asks for one token looks at that token."""
    assert judged(said("Yes", finish="length"), max_tokens=1).reason == ""
    assert judged(said("Once upon a", finish="length"), max_tokens=500).reason == "truncated"


def test_tool_call_is_an_answer_without_text() -> None:
    tools = [{"type": "function", "function": {"name": "weather"}}]
    assert judged(chat_completion(None, tool_calls=[TOOL_CALL]), tools=tools).reason == ""
    assert judged(chat_completion(None, tool_calls=[TOOL_CALL]), tools=[]).reason == ""


@pytest.mark.parametrize(
    "broken",
    [
        {**TOOL_CALL, "function": {"name": "never-offered", "arguments": "{}"}},
        {**TOOL_CALL, "function": {"name": "weather", "arguments": '{"city":'}},
        {**TOOL_CALL, "function": {"name": "weather", "arguments": "[]"}},
    ],
)
def test_tool_call_that_nobody_can_make_is_a_fault(broken: dict[str, Any]) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
    assert judged(chat_completion(None, tool_calls=[broken]), tools=tools).reason == "wrong JSON"


def test_mean_is_over_all_tokens_and_every_choice() -> None:
    answer = said("Perhaps", logprob=-0.2)
    answer["choices"].append(said("Perhaps", logprob=-1.0)["choices"][0])
    verdict = judged(answer)
    assert verdict.reason == "unsure"
    assert verdict.logprob == pytest.approx(-0.6)


def test_answer_without_log_probabilities_is_not_unsure() -> None:
    assert judged(said("Hello")) == Verdict("")


def test_check_that_is_not_asked_for_finds_nothing() -> None:
    assert judged(said("Once upon a", finish="length", logprob=-3.0), checks=()).reason == ""


@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"choices": [None]}, {"choices": "x"}, {"choices": [{}]}])
def test_body_that_holds_nothing_is_empty(answer: dict[str, Any]) -> None:
    assert judged(answer).reason == "empty"


def test_better_rejected_answers_are_worth_more() -> None:
    ranked = ["empty", "refused", "wrong JSON", "truncated", "samples disagree", "unsure", ""]
    assert sorted(ranked, key=lambda reason: Verdict(reason).worth) == ranked


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("42", "42.", True),
        ("**B**", "b", True),
        ("I add them up.\nAnswer: 12 km", "The answer is 12 km.", True),
        ("12", "13", False),
        ("-5", "- 5", True),
        ("yes", "no", False),
        ("The result: Zürich", "zürich", True),
    ],
)
def test_short_answers_are_compared_by_their_words(one: str, other: str, same: bool) -> None:
    assert agree(one, other) is same


def test_long_hostile_answer_is_judged_at_once() -> None:
    """T13: no check is worse than linear in what an upstream says."""
    started_s = time.process_time()
    for text in ("sorry " * 200_000, "I'm " + " " * 1_000_000, "answer" * 200_000, "{" * 500_000):
        judged(said(text), response_format={"type": "json_object"})
        agree(text[:400], text[-400:])
    assert time.process_time() - started_s < 5.0  # a quadratic one takes minutes
