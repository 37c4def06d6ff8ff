"""Requests answered in several rounds: a planner, a model like any other, has the candidates answer parts of them.

`multiround` cuts a request into questions, has the route's router place each, and sums the answers up; in
`llm-multiround` the planner places them too (both after LLMRouter's routers of these names). `r1` thinks, asks, and
thinks again (Router-R1, arXiv:2506.09033); its paper trains the planner for that, ours is any model that follows words.

What a planner writes is read, never obeyed: it can name no model but the route's candidates, and steps, tokens and
money are bounded whatever it says. Where it has nothing useful to say, the request is answered as a plain one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from math import ceil
from typing import Any

import msgspec

from routewright.catalog import header_text
from routewright.errors import GatewayError, UpstreamRefusedRequest
from routewright.orchestration import prompts
from routewright.orchestration.steps import Part, Steps
from routewright.orchestration.verdict import text_of
from routewright.settings import RoundsSettings
from routewright.types import NUSD_PER_USD, Call, Group
from routewright.wire.chat import estimated_tokens

FIELD = b"x-routewright-steps: "
PLAN, PART, SUM_UP, PLAIN = "plan", "part", "sum up", "plain"
MAX_QUESTION_CHARS = 4000
MAX_PLAN_CHARS = 64 * 1024
CHARS_KEPT_PER_TOKEN = 8
"""Of an answer that is handed to the planner: an upstream that ignores its bound can't flood the next prompt."""
LEAST_TOKENS = 16
"""Nothing can be said in fewer."""
_SAMPLING = ("temperature", "top_p", "seed", "user")

_THOUGHT = re.compile(r"<think>.*?(?:</think>|$)", re.DOTALL)
_SEARCH = re.compile(r"<search>(.*?)(?:</search>|$)", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL)
_TAG = re.compile(r"</?(?:think|search|information|answer)>")
_decode = msgspec.json.Decoder().decode


class Rounds:
    """Answers the requests of one route."""

    def __init__(
        self,
        settings: RoundsSettings,
        find_group: Callable[[str], Group | None],
        max_cost_usd: float | None = None,
    ) -> None:
        """`max_cost_usd`: the route's cap."""
        self._settings = settings
        self._max_cost_usd = max_cost_usd
        self._find_group = find_group

    async def answer(self, steps: Steps) -> None:
        """Raises GatewayError where not even a plain request could be answered."""
        most_usd = steps.most_usd(self._max_cost_usd)
        round_ = _Round(self._settings, steps, self._planner(steps), most_usd)
        if not _is_plain_text(steps.call) or not await round_.run():
            round_.tell(steps.decision.groups[0], PLAIN)
            await steps.relay(steps.call, steps.decision.groups, PLAIN)

    def _planner(self, steps: Steps) -> Group:
        named = None if self._settings.planner is None else self._find_group(self._settings.planner)
        if named is not None:
            return named
        decision = steps.decision
        if decision.rating is None:
            return decision.groups[0]
        return decision.candidates.groups[max(decision.rating.order, key=decision.rating.scores.__getitem__)]


def _is_plain_text(call: Call) -> bool:
    """Only what is text all through can be cut up; the rest is for one model."""
    is_more = call.has_tools or call.has_images or call.wants_json or call.n_choices > 1
    return call.endpoint != "completions" and not is_more


class _Round:
    """One request on its way through the rounds."""

    def __init__(self, settings: RoundsSettings, steps: Steps, planner: Group, most_usd: float | None) -> None:
        self._settings = settings
        self._steps = steps
        self._planner = planner
        self._tokens_left = settings.max_output_tokens
        self._most_nusd = round(min(settings.max_cost_usd, most_usd or math.inf) * NUSD_PER_USD)
        self._told: list[str] = []
        self._messages: list[Any] = []

    def tell(self, group: Group, stage: str) -> None:
        """Say in the answer's head that `group` was asked."""
        self._told.append(f"{header_text(group.name)} {stage}")
        self._steps.notes = [FIELD + "; ".join(self._told).encode("ascii", "replace") + b"\r\n"]

    async def run(self) -> bool:
        """Whether the client has its answer; if not, nothing has gone to it."""
        try:
            self._messages = self._steps.held_call().body["messages"]
            return await (self._think_and_ask() if self._settings.kind == "r1" else self._cut_up())
        except GatewayError:
            return False  # the planner failed, or a limit was reached: a plain request is told why, if it fails too

    # --- cut up, place, sum up ------------------------------------------------------------------------------------

    async def _cut_up(self) -> bool:
        settings = self._settings
        places = settings.kind == "llm-multiround"
        words = prompts.CUT_UP_AND_PLACE if places else prompts.CUT_UP
        told = words.format(most=settings.max_parts, models=", ".join(self._names()))
        if not self._may_ask(self._planner, self._messages, closing=True):
            return False
        planned = await self._ask(self._planner, [{"role": "system", "content": told}, *self._messages], PLAN)
        questions = read_plan(text_of(planned.answer), settings.max_parts)
        self._steps.set_aside(planned)
        if len(questions) < 2:
            return False
        answers = []
        for question, model in questions:
            group = (self._candidate(model) if places else None) or await self._place(question)
            said = await self._part(group, question)
            if said is not None:
                answers.append(f"Question: {question}\nAnswer: {said}")
        if not answers:
            return False
        parts = {"role": "user", "content": "\n\n".join([prompts.SUM_UP, *answers])}
        messages = [*self._messages, parts]
        if not self._may_ask(self._planner, messages, closing=False):
            return False
        await self._close(messages)
        return True

    async def _close(self, messages: list[Any]) -> None:
        """The last call, whose answer is the client's, as it comes."""
        self.tell(self._planner, SUM_UP)
        most = max(LEAST_TOKENS, min(self._tokens_left, self._steps.call.max_tokens or self._tokens_left))
        call = self._steps.held_call()
        call.body |= {"messages": messages}
        _bound(call, most)
        call.prompt_tokens_estimate = _tokens(messages)
        await self._steps.last(call, self._planner, SUM_UP)

    # --- think, ask, think again ----------------------------------------------------------------------------------

    async def _think_and_ask(self) -> bool:
        settings = self._settings
        told = prompts.THINK_AND_ASK.format(most=settings.max_parts, models=", ".join(self._names()))
        messages = [{"role": "system", "content": told}, *self._messages]
        for asked in range(settings.max_parts + 1):
            may_ask = asked < settings.max_parts and self._may_ask(self._planner, messages, closing=True)
            if not may_ask:
                if not asked or not self._may_ask(self._planner, messages, closing=False):
                    return False
                messages[-1]["content"] += "\n" + prompts.ANSWER_NOW
            turn = await self._ask(self._planner, messages, PLAN, stop=["</search>"])
            text = text_of(turn.answer)
            found = _ANSWER.search(text)
            search = None if found is not None else _SEARCH.search(text)
            if search is None or not may_ask:
                final = found.group(1) if found is not None else _SEARCH.sub("", _THOUGHT.sub("", text))
                return self._give(turn, _TAG.sub("", final).strip())
            self._steps.set_aside(turn)
            name, colon, question = search.group(1).partition(":")
            group = self._candidate(name) if colon else None
            if group is None:
                question = search.group(1)
                group = await self._place(question.strip()[:MAX_QUESTION_CHARS])
            said = await self._part(group, question.strip()[:MAX_QUESTION_CHARS])
            information = _TAG.sub("", prompts.NO_INFORMATION if said is None else said)
            messages += [
                {"role": "assistant", "content": text[: search.start()] + f"<search>{search.group(1)}</search>"},
                {"role": "user", "content": f"<information>{information}</information>"},
            ]
        return False

    def _give(self, turn: Part, text: str) -> bool:
        if not text:
            self._steps.set_aside(turn, "empty")
            return False
        choice = turn.answer["choices"][0]
        message = {"role": "assistant", "content": text}
        self._steps.give(turn, {**turn.answer, "choices": [{**choice, "message": message}]})
        return True

    # --- one call -------------------------------------------------------------------------------------------------

    async def _part(self, group: Group, question: str) -> str | None:
        """What a candidate answers; None where it can't be asked, or has no answer."""
        messages = [{"role": "user", "content": question}]
        if not self._may_ask(group, messages, closing=True):
            return None
        try:
            part = await self._ask(group, messages, PART)
        except GatewayError:
            return None
        self._steps.set_aside(part)
        text = text_of(part.answer).strip()
        return text[: self._settings.max_part_tokens * CHARS_KEPT_PER_TOKEN] or None

    async def _ask(self, group: Group, messages: list[Any], stage: str, *, stop: list[str] | None = None) -> Part:
        self.tell(group, stage)
        call = self._call(messages)
        if stop is not None:
            call.body["stop"] = stop
        try:
            part = await self._steps.ask(call, group, stage)
        except UpstreamRefusedRequest:
            # Models that reason know another name for the bound, and no words to stop at.
            call = self._call(messages)
            call.body["max_completion_tokens"] = call.body.pop("max_tokens")
            part = await self._steps.ask(call, group, stage)
        usage = part.outcome.usage
        self._tokens_left -= max(1, usage.completion_tokens if usage is not None else 1)
        return part

    def _call(self, messages: list[Any]) -> Call:
        """A call of our own, with the client's taste and none of its other words."""
        call = self._steps.held_call()
        call.body = {name: call.body[name] for name in ("model", *_SAMPLING) if name in call.body}
        call.body["messages"] = messages
        _bound(call, max(LEAST_TOKENS, min(self._settings.max_part_tokens, self._tokens_left)))
        call.prompt_tokens_estimate = _tokens(messages)
        return call

    # --- bounds ---------------------------------------------------------------------------------------------------

    def _may_ask(self, group: Group, messages: list[Any], *, closing: bool) -> bool:
        """Whether a call fits into what is left of tokens and money, and with `closing` the planner's last one too."""
        most = self._settings.max_part_tokens
        tokens = most * (2 if closing else 1)
        cost = _worst_nusd(group, _tokens(messages), most)
        if closing:
            cost += _worst_nusd(self._planner, _tokens(self._messages) + self._settings.max_parts * most, most)
        return self._tokens_left >= tokens and self._steps.spent_nusd + cost <= self._most_nusd

    # --- candidates -----------------------------------------------------------------------------------------------

    def _allowed(self) -> list[Group]:
        """The candidates, cheapest first."""
        decision = self._steps.decision
        rating = decision.rating
        if rating is None:
            return list(decision.groups)
        return [decision.candidates.groups[i] for i in sorted(rating.order, key=rating.costs_usd.__getitem__)]

    def _names(self) -> list[str]:
        return [group.name for group in self._allowed()]

    def _candidate(self, name: str) -> Group | None:
        """The candidate that a planner names; None for anything else that it may write there."""
        wanted = name.strip().casefold()
        return next((group for group in self._allowed() if group.name.casefold() == wanted), None)

    async def _place(self, question: str) -> Group:
        """The candidate that the route's router chooses for a question."""
        return await self._steps.place(self._call([{"role": "user", "content": question}]))


def read_plan(text: str, most: int) -> list[tuple[str, str]]:
    """Questions, and the model named for each (or nothing), from a planner's words; empty where they are no plan."""
    text = text[:MAX_PLAN_CHARS]
    start, end = text.find("["), text.rfind("]")
    try:
        listed = _decode(text[start : end + 1]) if 0 <= start < end else []
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return []
    questions = []
    for entry in listed if type(listed) is list else ():
        question, model = (entry.get("question"), entry.get("model")) if type(entry) is dict else (entry, "")
        if type(question) is str and question.strip():
            questions.append((question.strip()[:MAX_QUESTION_CHARS], model if type(model) is str else ""))
    return questions[:most]


def _bound(call: Call, most: int) -> None:
    """At most so many tokens, by the name for it that the client used."""
    name = "max_completion_tokens" if "max_completion_tokens" in call.body else "max_tokens"
    call.body[name] = call.max_tokens = most


def _tokens(messages: list[Any]) -> int:
    chars = 0
    for message in messages:
        content = message.get("content")
        if type(content) is str:
            chars += len(content)
        elif type(content) is list:
            chars += sum(len(part.get("text") or "") for part in content)
    return estimated_tokens(chars, n_messages=len(messages))


def _worst_nusd(group: Group, prompt_tokens: int, output_tokens: int) -> int:
    """What a call may cost at the dearest deployment of a group."""
    return max(
        [ceil(prompt_tokens * d.input_nusd + output_tokens * d.output_nusd) for d in group.deployments], default=0
    )
