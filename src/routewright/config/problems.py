"""What can be wrong with a configuration, said so that its writer finds the place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

NAME_LIMIT = 80


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault. `str` gives `config.yaml:12: litellm_params.modle: unknown key; did you mean "model"?`."""

    file: str
    line: int | None
    """From 1; None where no line is to blame (a file that can't be read)."""
    field: str
    """`litellm_params.model` within an entry of model_list, else the whole way: `routes.auto.quality`; may be empty."""
    message: str
    suggestion: str | None = None
    """The nearest name that would have been right."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        field = f"{self.field}: " if self.field else ""
        hint = f'; did you mean "{self.suggestion}"?' if self.suggestion else ""
        return f"{place}: {field}{self.message}{hint}"


class ConfigError(Exception):
    """The configuration can't be used. Holds every problem found, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def in_file_order(problems: Iterable[Problem]) -> list[Problem]:
    """Without repetition; files in the order in which they are first named, lines upwards."""
    once = list(dict.fromkeys(problems))
    files = {file: index for index, file in enumerate(dict.fromkeys(problem.file for problem in once))}
    return sorted(once, key=lambda problem: (files[problem.file], problem.line or 0))


_CREDENTIAL = re.compile(
    r"(?i:bearer)\s+\S{4,}|\b(?:sk|pk|rk|xai)-[A-Za-z0-9_\-]{6,}|\b(?:gsk|hf)_[A-Za-z0-9]{6,}|\bAIza[\w\-]{6,}|"
    r"[A-Za-z0-9+=]{33,}"
)
_ADDRESS = re.compile(r"https?://\S+")


def shown(name: str) -> str:
    """A name from the file, fit for a message: no control characters, nothing that looks like a credential, short."""
    text = _ADDRESS.sub("(address)", _CREDENTIAL.sub("***", name[:4096]))
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= NAME_LIMIT else text[: NAME_LIMIT - 1] + "…"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, if one is much like it."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    found = get_close_matches(name[:NAME_LIMIT].lower(), list(by_lower), n=1, cutoff=0.6)
    return shown(by_lower[found[0]]) if found else None
