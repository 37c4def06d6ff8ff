from __future__ import annotations

import numpy as np
import pytest

from routewright.learning.prompts import PromptRows, StoredPrompts
from routewright.types import Prompt


def test_prompts_come_back_from_disk_as_they_were_kept():
    kept = [("", ""), ("Größe\n\u2028 und 数学 \x00", "a system prompt"), ("x" * 100_000, "")]
    prompts = StoredPrompts()
    for text, system in kept:
        prompts.append(text, system)
    prompts.seal()
    assert len(prompts) == 3
    assert list(prompts) == [Prompt(text=text, system=system) for text, system in kept]
    assert prompts[-1] == prompts[2]
    assert prompts[:2] == [prompts[0], prompts[1]]
    for outside in (3, -4):
        with pytest.raises(IndexError):
            prompts[outside]


def test_some_rows_in_an_order_of_one_s_own():
    prompts = [Prompt(text=str(number)) for number in range(5)]
    rows = PromptRows(prompts, np.array([4, 0, 4]))
    assert [prompt.text for prompt in rows] == ["4", "0", "4"]
    assert rows[1].text == "0"
    assert [prompt.text for prompt in rows[1:]] == ["0", "4"]
    # as often as asked for
    assert [prompt.text for prompt in rows] == ["4", "0", "4"]
