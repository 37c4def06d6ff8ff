from __future__ import annotations

import pytest
from made_up import make_artefact, make_candidate

from routewright.routing.profiles import FAMILIES, find_family, place, plain_name, profile_of


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-mini", "gpt-4o mini"),
        ("openai/gpt-4.1-nano", "gpt-4.1 nano"),
        ("gpt-4", "gpt-4"),
        ("gpt-4-turbo-preview", "gpt-4 turbo"),
        ("gpt-5", "gpt-5"),
        ("gpt-5-mini-2025-08-07", "gpt-5 mini"),
        ("gpt-5.1-nano", "gpt-5 nano"),
        ("gpt-35-turbo", "gpt-3.5"),
        ("o3", "o1, o3"),
        ("o4-mini", "o3 mini, o4 mini"),
        ("o1-preview", "o1, o3"),
        ("claude-3-5-sonnet-20241022", "claude 3.5 sonnet"),
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", "claude 3.5 sonnet"),
        ("us.anthropic.claude-3-haiku-20240307-v1:0", "claude 3 haiku"),
        ("claude-sonnet-4-5-20250929", "claude sonnet 4"),
        ("claude-opus-4-1", "claude opus 4"),
        ("claude-haiku-4-5", "claude haiku 4"),
        ("gemini-2.5-flash-lite", "gemini 2.5 flash-lite"),
        ("gemini/gemini-2.5-pro", "gemini 2.5 pro"),
        ("gemini-2.0-flash-001", "gemini 2.0 flash"),
        ("gemini-1.5-flash-8b", "gemini 1.5 flash 8b"),
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", "llama 3.3 70b"),
        ("llama3.1:8b", "llama 3.1 8b"),
        ("meta-llama/llama-4-maverick-17b-128e-instruct", "llama 4 maverick"),
        ("accounts/fireworks/models/llama-v3p1-405b-instruct", "llama 3.1 405b"),
        ("Qwen/Qwen2.5-72B-Instruct", "qwen 2.5 72b"),
        ("qwen3:8b", "qwen 3 8b"),
        ("qwen2.5-coder-32b-instruct", "qwen coder"),
        ("mistral-large-latest", "mistral large"),
        ("open-mixtral-8x22b", "mixtral 8x22b"),
        ("codestral-latest", "codestral, devstral"),
        ("deepseek-chat", "deepseek v3"),
        ("deepseek-reasoner", "deepseek r1"),
        ("deepseek-r1-distill-llama-70b", "deepseek r1 distill"),
        ("grok-4-fast-non-reasoning", "grok 4 fast"),
        ("grok-3-mini", "grok 3 mini"),
        ("command-r-plus-08-2024", "command r+"),
        ("microsoft/phi-4", "phi 4"),
        ("google/gemma-3-27b-it", "gemma 3 27b"),
        ("amazon.nova-micro-v1:0", "nova micro"),
        ("moonshotai/kimi-k2-instruct", "kimi k2"),
        ("gpt-oss-20b", "gpt-oss 20b"),
        ("falcon-40b", "open model of 40 billion parameters"),
    ],
)
def test_a_models_family_is_told_by_its_name(model, family):
    assert find_family(model).name == family


def test_an_unknown_name_has_no_family():
    for name in ("acme-one", "", "/", "x" * 10_000, "b", "007b0nd"):
        family = find_family(name)
        assert family is None or family.name


def test_every_family_has_a_level_and_a_name_of_its_own():
    assert len(FAMILIES) >= 25
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    assert all(0.1 < family.level < 0.95 for family in FAMILIES)
    assert {profile_of(level) for level in (0.2, 0.45, 0.6, 0.7, 0.8)} == {
        "tiny",
        "small",
        "fast",
        "strong",
        "frontier",
    }


def test_decoration_is_taken_off_names():
    assert plain_name("us.meta.llama3-1-8b-instruct-v1:0") == "llama3-1-8b-instruct"
    assert plain_name("openai/GPT-4o-2024-08-06") == "gpt-4o"
    assert plain_name("claude-3-opus-latest") == "claude-3-opus"


def test_a_label_of_the_same_name_stands_for_the_model():
    artefact = make_artefact()
    (placement,) = place([make_candidate("fast", upstream_model="vendor/Petit", usd_in=1, usd_out=1)], artefact)
    assert placement.label == "petit"
    assert placement.is_measured
    assert "own" in placement.how


def test_what_placed_a_model_is_said(default_artefact):
    placed = place(
        [
            make_candidate("llama-3.1-8b-instruct"),
            make_candidate("gpt-4o"),
            make_candidate("acme-one", quality=0.7),
            make_candidate("acme-two", 0.1, 0.4),
            make_candidate("acme-three"),
        ],
        default_artefact,
    )
    for placement, words in zip(placed, ("its own", "family", "stated quality", "price", "in the middle"), strict=True):
        assert words in placement.how
        assert sum(weight for _, weight in placement.weights) == pytest.approx(1.0)


def test_a_stated_quality_counts_before_the_family(default_artefact):
    low, high = place(
        [make_candidate("a", upstream_model="gpt-4o", quality=0.3), make_candidate("b", upstream_model="gpt-4o")],
        default_artefact,
    )
    assert low.weights != high.weights


def test_different_models_of_one_level_are_set_apart_by_price(default_artefact):
    names = [("acme", 1, 1), ("apex", 1, 2), ("zeta", 1, 1)]
    placed = place([make_candidate(n, i, o, quality=0.66) for n, i, o in names], default_artefact)
    assert len({(p.weights, p.offset) for p in placed}) == 3
    assert placed[1].offset > placed[2].offset > placed[0].offset
    same = place(
        [make_candidate(f"public-{i}", 1, 1, upstream_model="acme", quality=0.66) for i in "ab"], default_artefact
    )
    assert same[0].offset == same[1].offset  # one model under two names


def test_a_dearer_unknown_model_is_held_to_be_better(default_artefact):
    cheap, dear = place([make_candidate("acme-a", 0.05, 0.1), make_candidate("acme-b", 10, 40)], default_artefact)
    labels = default_artefact.labels
    height = lambda p: sum(w * labels[i].quality for i, w in p.weights) + p.offset / 4  # noqa: E731
    assert height(dear) > height(cheap) + 0.1


def test_thinking_models_are_expected_to_write_more(default_artefact):
    plain, thinking = place([make_candidate("gpt-4.1", 2, 8), make_candidate("o3", 2, 8)], default_artefact)
    assert thinking.output_tokens > 2 * plain.output_tokens


def test_families_find_their_place_among_a_users_own_labels():
    """An artefact of one's own has its own scale; known names in it tie the table of families to it."""
    artefact = make_artefact()
    names = ("gpt-4o", "llama-3.1-8b-instruct", "codestral", "mistral-7b")
    from dataclasses import replace

    renamed = replace(
        artefact,
        labels=tuple(
            replace(label, name=name, quality=q)
            for label, name, q in zip(artefact.labels, names, (0.95, 0.6, 0.7, 0.5), strict=True)
        ),
    )
    strong, weak = place([make_candidate("claude-opus-4"), make_candidate("llama-3.2-1b")], renamed)
    assert strong.weights[-1][0] == 0
    assert {i for i, _ in weak.weights} <= {1, 3}
