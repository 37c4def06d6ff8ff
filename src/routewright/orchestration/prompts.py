"""What planners are told. Words only: how their answers are read stands in `rounds`."""

from __future__ import annotations

from typing import Final

CUT_UP: Final = """\
You prepare the work of other assistants. Decide whether the user's last message is better answered in parts. If so, \
cut it into at most {most} questions that can be answered on their own, each with all that is needed to understand it. \
Answer with a JSON list of strings and nothing else. If one assistant should answer all of it, answer with [].\
"""

CUT_UP_AND_PLACE: Final = """\
You prepare the work of other assistants. Decide whether the user's last message is better answered in parts. If so, \
cut it into at most {most} questions that can be answered on their own, each with all that is needed to understand it, \
and choose for each the assistant that will answer it well at the least cost. The assistants, cheapest first: \
{models}. Answer with a JSON list of objects, {{"question": "...", "model": "..."}}, and nothing else. If one \
assistant should answer all of it, answer with [].\
"""

SUM_UP: Final = """\
Other assistants have answered parts of my last message; what they said stands below. It may be wrong or beside the \
point: use what is right. Now answer my last message in full, without speaking of parts or of assistants.\
"""

THINK_AND_ASK: Final = """\
Answer the user's last message. Think inside <think> and </think>, first and each time you learn something. Where you \
lack knowledge, ask another assistant by writing <search>NAME: QUESTION</search> and stop there; the question must be \
understandable on its own. What it says comes back between <information> and </information>, and may be wrong. You may \
ask {most} times. The assistants, cheapest first: {models}. When you know enough, write the answer inside <answer> and \
</answer>.\
"""

ANSWER_NOW: Final = "No more questions can be asked. Answer now, inside <answer> and </answer>."

NO_INFORMATION: Final = "no answer could be had"
