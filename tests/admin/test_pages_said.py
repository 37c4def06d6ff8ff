"""What was asked and answered is told whole, in whatever form it is kept; and names of a chart lie apart."""

from __future__ import annotations

import json

import pytest

from routewright.admin.ui.labels import place
from routewright.admin.ui.said import Piece, read


def told(asked: object, answered: object) -> list[tuple[str, str]]:
    found = read((json.dumps(asked), json.dumps(answered)))
    assert found is not None
    return [(piece.role, piece.text) for piece in found.pieces]


def test_chat_is_told_message_by_message() -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": "x"}]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]
    asked = {"model": "auto", "temperature": 0.5, "messages": messages}
    call = {"id": "c1", "function": {"name": "look", "arguments": "{}"}}
    answered = {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [call]}}]}
    (system, user, assistant) = told(asked, answered)
    assert system == ("system", "Be brief.")
    assert user[1].startswith("What is this?\n")
    assert "image_url" in user[1]
    assert assistant[0] == "assistant"
    assert '"look"' in assistant[1]
    found = read((json.dumps(asked), json.dumps(answered)))
    assert found is not None
    assert json.loads(found.settings) == {"model": "auto", "temperature": 0.5}
    assert not found.is_cut


def test_other_endpoints_and_what_was_cut_are_told_too() -> None:
    assert told({"input": "to be embedded"}, {"data": []})[0] == ("user", "to be embedded")
    assert told({"prompt": "Once"}, {"choices": [{"text": " upon"}]}) == [("user", "Once"), ("assistant", " upon")]
    found = read((json.dumps({"truncated": True, "text": '{"messages": [{"ro'}), ""))
    assert found is not None
    assert found.is_cut
    assert found.pieces == [Piece("request", '{"messages": [{"ro', "user")]


@pytest.mark.parametrize("text", ["", "no JSON", "[" * 20_000, "null", "[1]", '{"messages": 3, "choices": [4]}'])
def test_nothing_that_is_kept_breaks_the_page(text: str) -> None:
    assert read((text, text)) is not None
    assert read(None) is None


def test_names_of_points_that_lie_close_do_not_cover_each_other() -> None:
    names = ("dial 0.8", "claude-3-5-sonnet", "gpt-4o", "gpt-4o-mini")
    points = [(400.0 + 6 * number, 60.0 - 5 * number, name) for number, name in enumerate(names)]
    found = place(points, [], (44, 18, 460, 270))
    boxes = [
        (x - 3.7 * len(name), base - 11, x + 3.7 * len(name), base)
        for (x, base), name in zip(found, names, strict=True)
    ]
    for number, one in enumerate(boxes):
        assert one[0] >= 44
        assert one[2] <= 461
        for other in boxes[number + 1 :]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
