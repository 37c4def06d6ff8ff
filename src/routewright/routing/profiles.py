"""Which learned label stands for a configured model: by name, family, stated quality, or price; and how it was found.

A family's `level` is its approximate share of right answers on MMLU-Pro, from vendors' model cards and public tables:
one scale on which today's models and the ones that the default router was fitted on can be compared. It orders models
and sets their distance; it claims nothing about a single task. An operator who knows better states
`model_info.quality`, which then counts instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Final

import numpy as np

from routewright.routing.artefact import Artefact, Label
from routewright.routing.objective import USUAL_OUTPUT_TOKENS, blended_usd_per_million, logit
from routewright.types import RouteCandidate


@dataclass(frozen=True, slots=True)
class Family:
    """Models that are told by their names, and what they can do."""

    name: str
    pattern: re.Pattern[str]
    level: float
    """0..1, see the module."""
    kind: str = ""
    """`code` or `math` for a specialist."""
    thinks: bool = False
    """Writes a hidden chain of thought before it answers, and bills it as output."""

    @property
    def profile(self) -> str:
        return self.kind or profile_of(self.level)


def profile_of(level: float) -> str:
    """A level's word."""
    for word, least in (("frontier", 0.76), ("strong", 0.66), ("fast", 0.54), ("small", 0.38)):
        if level >= least:
            return word
    return "tiny"


_THINKING_FACTOR: Final = 4.0
"""A thinking model's output tokens, against the same answer without thought."""


def _families() -> tuple[Family, ...]:
    rows: Sequence[tuple[str, str, float, str]] = (
        # OpenAI; narrower patterns stand before wider ones
        ("gpt-5 nano", r"gpt-5(\.\d)?-nano", 0.77, "thinks"),
        ("gpt-5 mini", r"gpt-5(\.\d)?-mini", 0.83, "thinks"),
        ("gpt-5 chat", r"gpt-5(\.\d)?-chat", 0.82, ""),
        ("gpt-5 codex", r"gpt-5(\.\d)?-codex|codex-mini", 0.85, "code thinks"),
        ("gpt-5", r"gpt-5", 0.87, "thinks"),
        ("gpt-4.5", r"gpt-4\.5", 0.80, ""),
        ("gpt-4.1 nano", r"gpt-4\.1-nano", 0.62, ""),
        ("gpt-4.1 mini", r"gpt-4\.1-mini", 0.76, ""),
        ("gpt-4.1", r"gpt-4\.1", 0.80, ""),
        ("gpt-4o mini", r"gpt-4o-mini", 0.63, ""),
        ("gpt-4o", r"gpt-4o|chatgpt-4o", 0.74, ""),
        ("gpt-4 turbo", r"gpt-4-(turbo|1106|0125|vision|preview)", 0.64, ""),
        ("gpt-4", r"gpt-4(?!\d)", 0.60, ""),
        ("gpt-3.5", r"gpt-3\.5|gpt-35", 0.43, ""),
        ("gpt-oss 120b", r"gpt-oss-120b", 0.80, "thinks"),
        ("gpt-oss 20b", r"gpt-oss", 0.73, "thinks"),
        ("o1 mini", r"\bo1-mini", 0.80, "math thinks"),
        ("o3 mini, o4 mini", r"\bo[34]-mini", 0.82, "math thinks"),
        ("o1, o3", r"\bo[13](\b|-)", 0.85, "thinks"),
        # Anthropic
        ("claude opus 4", r"claude-(opus-[4-9]|[4-9](-\d)?-opus)", 0.87, ""),
        ("claude sonnet 4", r"claude-(sonnet-[4-9]|[4-9](-\d)?-sonnet)", 0.85, ""),
        ("claude haiku 4", r"claude-(haiku-[4-9]|[4-9](-\d)?-haiku)", 0.78, ""),
        ("claude 3.7 sonnet", r"claude-3[.-]7-sonnet", 0.80, ""),
        ("claude 3.5 sonnet", r"claude-3[.-]5-sonnet", 0.77, ""),
        ("claude 3.5 haiku", r"claude-3[.-]5-haiku", 0.64, ""),
        ("claude 3 opus", r"claude-3-opus|claude-opus", 0.685, ""),
        ("claude 3 sonnet", r"claude-3-sonnet|claude-sonnet", 0.57, ""),
        ("claude 3 haiku", r"claude-3-haiku|claude-haiku", 0.42, ""),
        ("claude instant", r"claude-instant", 0.36, ""),
        ("claude 2 and older", r"claude-v?[12]", 0.44, ""),
        # Google
        ("gemini 3 pro", r"gemini-[3-9](\.\d)?-pro", 0.89, "thinks"),
        ("gemini 3 flash", r"gemini-[3-9](\.\d)?-flash", 0.85, ""),
        ("gemini 2.5 flash-lite", r"gemini-2\.5-flash-lite|gemini-flash-lite-latest", 0.73, ""),
        ("gemini 2.5 flash", r"gemini-2\.5-flash|gemini-flash-latest", 0.80, ""),
        ("gemini 2.5 pro", r"gemini-2\.5-pro|gemini-pro-latest", 0.86, "thinks"),
        ("gemini 2.0 flash-lite", r"gemini-2\.0-flash-lite", 0.71, ""),
        ("gemini 2.0 flash", r"gemini-2\.0-flash", 0.76, ""),
        ("gemini 2.0 pro", r"gemini-2\.0-pro", 0.79, ""),
        ("gemini 1.5 flash 8b", r"gemini-1\.5-flash-8b", 0.58, ""),
        ("gemini 1.5 flash", r"gemini-1\.5-flash", 0.64, ""),
        ("gemini 1.5 pro", r"gemini-1\.5-pro", 0.70, ""),
        ("gemini 1.0 pro", r"gemini-(1\.0-)?pro", 0.46, ""),
        ("gemma 3 27b", r"gemma-?3n?-27b", 0.67, ""),
        ("gemma 3 12b", r"gemma-?3n?-12b", 0.60, ""),
        ("gemma 3 4b", r"gemma-?3n?-(e?4b|e2b)", 0.43, ""),
        ("gemma 2 27b", r"gemma-?2-27b", 0.57, ""),
        ("gemma 2 9b", r"gemma-?2-9b", 0.52, ""),
        ("codegemma", r"codegemma", 0.28, "code"),
        ("gemma", r"gemma", 0.32, ""),
        # Meta and its offspring
        ("llama 4 maverick", r"llama-?4-maverick", 0.80, ""),
        ("llama 4 scout", r"llama-?4-scout", 0.74, ""),
        ("llama 3.1 405b", r"llama-?3\.1-405b", 0.73, ""),
        ("nemotron ultra", r"nemotron-ultra", 0.78, "thinks"),
        ("nemotron", r"nemotron", 0.68, ""),
        ("chatqa", r"chatqa", 0.36, ""),
        ("llama 3.3 70b", r"llama-?3\.3-70b", 0.69, ""),
        ("llama 3.1 70b", r"llama-?3\.1-70b|llama-?3\.2-90b", 0.63, ""),
        ("llama 3 70b", r"llama-?3-70b", 0.55, ""),
        ("llama 3.1 8b", r"llama-?3\.1-8b|llama-?3\.2-11b|llama-?3\.1(-instant)?$", 0.44, ""),
        ("llama 3 8b", r"llama-?3-8b", 0.39, ""),
        ("llama 3.2 3b", r"llama-?3\.2-3b|llama-?3\.2$", 0.35, ""),
        ("llama 3.2 1b", r"llama-?3\.2-1b", 0.20, ""),
        ("code llama", r"code-?llama", 0.27, "code"),
        ("llama 2 70b", r"llama-?2-70b", 0.36, ""),
        ("llama 2", r"llama-?2", 0.20, ""),
        # Alibaba
        ("qwen 3 coder", r"qwen-?3-coder", 0.78, "code"),
        ("qwen 3 max", r"qwen-?3(\.\d)?-max", 0.84, ""),
        ("qwen 3 235b", r"qwen-?3-235b", 0.82, ""),
        ("qwen 3 30b, 32b", r"qwen-?3-(30b|32b|next)", 0.75, ""),
        ("qwen 3 14b", r"qwen-?3-14b", 0.70, ""),
        ("qwen 3 8b", r"qwen-?3-(8b|4b)", 0.62, ""),
        ("qwq, qvq", r"qwq|qvq", 0.76, "math thinks"),
        ("qwen coder", r"qwen-?2\.5-coder|codeqwen|qwen-coder", 0.50, "code"),
        ("qwen math", r"qwen-?2(\.5)?-math", 0.50, "math"),
        ("qwen max", r"qwen-?(2\.5-)?max", 0.76, ""),
        ("qwen plus", r"qwen-?(2\.5-)?plus", 0.71, ""),
        ("qwen turbo", r"qwen-?(2\.5-)?(turbo|flash)", 0.62, ""),
        ("qwen 2.5 72b", r"qwen-?2(\.5)?-72b", 0.70, ""),
        ("qwen 2.5 32b", r"qwen-?2\.5-32b", 0.68, ""),
        ("qwen 2.5 14b", r"qwen-?2\.5-14b", 0.62, ""),
        ("qwen 2.5 7b", r"qwen-?2(\.5)?-7b", 0.48, ""),
        ("qwen 1.5 large", r"qwen-?1\.5-(110b|72b)", 0.48, ""),
        # Mistral
        ("codestral, devstral", r"codestral|devstral", 0.55, "code"),
        ("mathstral", r"mathstral", 0.42, "math"),
        ("magistral", r"magistral", 0.74, "thinks"),
        ("mistral medium 3", r"mistral-medium", 0.76, ""),
        ("mistral large", r"mistral-large|pixtral-large", 0.69, ""),
        ("mistral small 3", r"mistral-small", 0.66, ""),
        ("mixtral 8x22b", r"mixtral-8x22b", 0.56, ""),
        ("mixtral 8x7b", r"mixtral", 0.42, ""),
        ("mistral nemo, pixtral 12b", r"nemo|pixtral", 0.44, ""),
        ("ministral", r"ministral", 0.42, ""),
        ("mistral 7b", r"mistral", 0.29, ""),
        # DeepSeek
        ("deepseek r1 distill", r"deepseek-r1.*(distill|qwen|llama|-(1\.5|7|8|14|32|70)b)", 0.68, "math thinks"),
        ("deepseek r1", r"deepseek-(r1|reasoner)", 0.84, "thinks"),
        ("deepseek coder", r"deepseek-coder", 0.63, "code"),
        ("deepseek v3", r"deepseek-(v3|chat|v4)", 0.79, ""),
        ("deepseek v2", r"deepseek-v2", 0.64, ""),
        # xAI, Cohere, Microsoft, Amazon, AI21, Moonshot, Zhipu, others
        ("grok 4 fast", r"grok-(4[\w.-]*-fast|code)", 0.83, ""),
        ("grok 4", r"grok-4", 0.87, "thinks"),
        ("grok 3 mini", r"grok-3-mini", 0.79, "thinks"),
        ("grok 3", r"grok-3", 0.80, ""),
        ("grok 2", r"grok", 0.75, ""),
        ("command a", r"command-a", 0.69, ""),
        ("command r+", r"command-r-?(plus|\+)", 0.45, ""),
        ("command r7b", r"command-r7b|command-light", 0.34, ""),
        ("command r", r"command", 0.38, ""),
        ("phi 4 mini", r"phi-?4-mini", 0.53, ""),
        ("phi 4", r"phi-?4", 0.70, ""),
        ("phi 3 medium", r"phi-?3(\.5)?-(medium|moe)", 0.52, ""),
        ("phi 3 mini", r"phi-?[123]", 0.43, ""),
        ("nova premier", r"nova-premier", 0.74, ""),
        ("nova pro", r"nova-(2-)?pro", 0.69, ""),
        ("nova lite", r"nova-(2-)?lite", 0.59, ""),
        ("nova micro", r"nova-micro", 0.53, ""),
        ("titan", r"titan", 0.25, ""),
        ("jamba large", r"jamba.*large", 0.53, ""),
        ("jamba mini", r"jamba", 0.40, ""),
        ("kimi k2", r"kimi", 0.81, ""),
        ("glm air, flash", r"glm-[\w.]*-(air|flash)", 0.75, ""),
        ("glm", r"glm-[45]", 0.83, ""),
        ("minimax", r"minimax", 0.80, ""),
        ("yi large", r"yi-large", 0.60, ""),
        ("yi 34b", r"yi-34b", 0.42, ""),
        ("yi 6b, 9b", r"yi-[69]b", 0.27, ""),
        ("granite code", r"granite.*code", 0.30, "code"),
        ("granite", r"granite", 0.40, ""),
        ("starcoder", r"starcoder", 0.25, "code"),
        ("hermes, dolphin", r"hermes|dolphin|wizardlm|vicuna", 0.35, ""),
        ("solar", r"solar", 0.45, ""),
        ("olmo", r"olmo", 0.42, ""),
        ("sonar pro", r"sonar-pro", 0.76, ""),
        ("sonar", r"sonar", 0.69, ""),
    )
    return tuple(
        Family(
            name,
            re.compile(pattern),
            level,
            kind="code" if "code" in marks else "math" if "math" in marks else "",
            thinks="thinks" in marks,
        )
        for name, pattern, level, marks in rows
    )


FAMILIES: Final = _families()

_SIZE: Final = re.compile(r"(?<![\w.])(\d{1,3}(?:\.\d)?)b(?![a-z])")
_BY_SIZE: Final = ((0.5, 0.15), (1.5, 0.25), (3, 0.36), (8, 0.46), (14, 0.58), (32, 0.65), (72, 0.69), (400, 0.75))
_BY_PRICE: Final = ((0.03, 0.36), (0.1, 0.48), (0.3, 0.61), (1.0, 0.68), (4.0, 0.75), (10.0, 0.80), (40.0, 0.84))
"""Level that an unknown model of this blended price (USD per million tokens) is held to have."""
_MIDDLE: Final = 0.60
_DATE: Final = re.compile(r"(?:-(?:20\d{6}|20\d\d-\d\d-\d\d|latest|preview)|(?<!claude)-v\d-\d)$")
_REGION: Final = re.compile(
    r"^(?:us|eu|apac|au|jp|us-gov|global)\.|^(?:anthropic|meta|amazon|mistral|cohere|ai21|openai|qwen)\."
)
_POINT: Final = re.compile(r"(?<=\d)p(?=\d)|(?<=llama\d)-(?=\d-)|(?<=llama-\d)-(?=\d-)")
"""Where a host that allows no point in a name writes something else: `llama-v3p1`, `llama3-1`."""


def plain_name(model: str) -> str:
    """A model's name without vendor path, region, date and other decoration, for comparing."""
    name = model.lower().rstrip("/").rsplit("/", 1)[-1]
    for mark in "_: @":
        name = name.replace(mark, "-")
    for _ in range(2):
        name = _REGION.sub("", name)
    for _ in range(3):
        name = _DATE.sub("", name)
    return name


def find_family(model: str) -> Family | None:
    """The first family whose pattern the name fits; else one made of the size in the name; else None."""
    name = _POINT.sub(".", plain_name(model)[:200].replace("llama-v3", "llama-3").replace("deepseek.", "deepseek-"))
    if model.lower().endswith("-latest"):  # of some names it is a family's own, of others no more than a date
        name += "-latest"
    for family in FAMILIES:
        if family.pattern.search(name):
            return family
    size = _SIZE.search(name)
    if size:
        billions = float(size.group(1))
        return Family(f"open model of {billions:g} billion parameters", size.re, _interpolate(_BY_SIZE, billions))
    return None


def _interpolate(table: Sequence[tuple[float, float]], at: float) -> float:
    """Linear in the logarithm of the first column, flat beyond its ends."""
    xs, ys = zip(*table, strict=True)
    return float(np.interp(log(max(at, 1e-9)), np.log(xs), ys))


@dataclass(frozen=True, slots=True)
class Placement:
    """How one candidate's score comes from the labels' scores."""

    model: str
    label: str
    """The label, family or mix that stands for it."""
    profile: str
    how: str
    """For people: by what it was placed."""
    level: float | None
    """0..1 on the scale of `FAMILIES`; None: measured on a scale of its own."""
    weights: tuple[tuple[int, float], ...]
    """(label's index, weight), weights adding to 1, applied to log-odds."""
    offset: float
    """Added to the log-odds."""
    output_tokens: float
    """Usual length of its answer."""

    @property
    def is_measured(self) -> bool:
        """It is a label itself, not somebody like it."""
        return len(self.weights) == 1 and self.offset == 0.0


def place(candidates: Sequence[RouteCandidate], artefact: Artefact) -> list[Placement]:
    """A placement for each candidate, in order.

    Candidates that would get the very same scores though they are different models are set apart a little, the dearer
    one (by name where prices agree) above the cheaper.
    """
    ladder = _Ladder(artefact)
    placements = [_place_one(candidate, artefact, ladder) for candidate in candidates]
    alike: dict[tuple[tuple[tuple[int, float], ...], float], list[int]] = {}
    for i, placement in enumerate(placements):
        if placement.is_measured and artefact.labels[placement.weights[0][0]].role == "model":
            continue
        alike.setdefault((placement.weights, placement.offset), []).append(i)
    for group in alike.values():
        names = sorted(
            {(blended_usd_per_million(candidates[i].price) or 0.0, candidates[i].upstream_model) for i in group}
        )
        for i in group:
            price = blended_usd_per_million(candidates[i].price) or 0.0
            rank = names.index((price, candidates[i].upstream_model)) - (len(names) - 1) / 2
            if rank:
                old = placements[i]
                placements[i] = Placement(
                    old.model,
                    old.label,
                    old.profile,
                    f"{old.how}; set apart from its equals by {'price' if price else 'name'}",
                    old.level,
                    old.weights,
                    old.offset + 0.04 * rank,
                    old.output_tokens,
                )
    return placements


class _Ladder:
    """The labels in order of quality, between which a model of known level is placed."""

    def __init__(self, artefact: Artefact) -> None:
        labels = artefact.labels
        rungs = [i for i, label in enumerate(labels) if label.role == "rung"]
        rungs = rungs or [i for i, label in enumerate(labels) if label.role == "model"] or list(range(len(labels)))
        self.rungs = sorted(rungs, key=lambda i: labels[i].quality)
        self.heights = [logit(labels[i].quality) for i in self.rungs]
        self.intercept, self.slope = 0.0, 1.0
        if artefact.scale != "mmlu_pro":
            self._fit_scale(labels)

    def _fit_scale(self, labels: Sequence[Label]) -> None:
        """Families' levels on this training set's scale: log-odds, straight line through the labels that are known."""
        known = [(logit(family.level), logit(label.quality)) for label in labels if (family := find_family(label.name))]
        if not known:
            self.intercept = float(np.mean(self.heights)) - logit(_MIDDLE)
            return
        x, y = np.array(known).T
        spread = float(((x - x.mean()) ** 2).sum())
        if len(known) >= 3 and spread > 0.1:
            self.slope = float(np.clip(((x - x.mean()) * (y - y.mean())).sum() / spread, 0.3, 2.0))
        self.intercept = float(y.mean() - self.slope * x.mean())

    def height(self, level: float) -> float:
        """Log-odds, on this artefact's scale, of a level."""
        return self.intercept + self.slope * logit(level)

    def mix(self, height: float) -> tuple[tuple[tuple[int, float], ...], float]:
        """Weights on the two rungs around a height, and what is missing beyond the ends (at most 1.5)."""
        rungs, heights = self.rungs, self.heights
        if height <= heights[0]:
            return ((rungs[0], 1.0),), max(height - heights[0], -1.5)
        if height >= heights[-1]:
            return ((rungs[-1], 1.0),), min(height - heights[-1], 1.5)
        above = next(i for i, h in enumerate(heights) if h > height)
        share = (height - heights[above - 1]) / (heights[above] - heights[above - 1])
        return ((rungs[above - 1], 1.0 - share), (rungs[above], share)), 0.0


def _place_one(candidate: RouteCandidate, artefact: Artefact, ladder: _Ladder) -> Placement:
    labels = artefact.labels
    names = {plain_name(candidate.upstream_model): "upstream name", plain_name(candidate.model): "public name"}
    for i, label in enumerate(labels):
        if label.role == "model" and plain_name(label.name) in names and candidate.quality is None:
            by = names[plain_name(label.name)]
            return Placement(
                candidate.model,
                label.name,
                profile_of(label.quality) if artefact.scale == "mmlu_pro" else label.name,
                f"measured under its own {by}",
                label.quality if artefact.scale == "mmlu_pro" else None,
                ((i, 1.0),),
                0.0,
                label.output_tokens or USUAL_OUTPUT_TOKENS,
            )

    family = find_family(candidate.upstream_model) or find_family(candidate.model)
    blended = blended_usd_per_million(candidate.price)
    if candidate.quality is not None:
        # stated on the scale that the labels were measured on
        height, level = logit(candidate.quality), candidate.quality
        how = f"by its stated quality {candidate.quality:g}"
    elif family is not None:
        level = family.level
        height = ladder.height(level)
        how = f'by its family "{family.name}", level {level:g}'
    elif blended is not None:
        level = _interpolate(_BY_PRICE, blended)
        height = ladder.height(level)
        how = f"by its price of {blended:.3g} USD per million tokens, as of level {level:.2f}: name not known"
    else:
        level = _MIDDLE
        height = ladder.height(level)
        how = "in the middle: name, quality and price are not known"

    weights, offset = ladder.mix(height)
    profile = family.profile if family is not None else profile_of(level)
    if family is not None and family.kind:
        specialist = next((i for i, label in enumerate(labels) if label.role == family.kind), None)
        if specialist is not None:
            # half as the level says, half with the specialist's strengths brought to this height
            weights = (*((i, w / 2) for i, w in weights), (specialist, 0.5))
            offset = offset / 2 + (height - logit(labels[specialist].quality)) / 2
            how += f", half of it with the strengths of {family.kind} models"
    tokens = sum(w * (labels[i].output_tokens or USUAL_OUTPUT_TOKENS) for i, w in weights)
    if family is not None and family.thinks:
        tokens *= _THINKING_FACTOR
        how += f"; thinks before it answers, so {_THINKING_FACTOR:g} times the output"
    label_text = (
        " + ".join(f"{w:.2f} {labels[i].name}" for i, w in weights) if len(weights) > 1 else labels[weights[0][0]].name
    )
    return Placement(candidate.model, label_text, profile, how, level, weights, round(offset, 6), tokens)
