"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass

GOOD, WARNING, PROBLEM = "good", "warning", "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    subject: str
    grade: str
    text: str
    advice: str = ""
    """What to do; empty where nothing has to be done."""


def good(subject: str, text: str) -> Finding:
    return Finding(subject, GOOD, text)


def warning(subject: str, text: str, advice: str) -> Finding:
    return Finding(subject, WARNING, text, advice)


def problem(subject: str, text: str, advice: str) -> Finding:
    return Finding(subject, PROBLEM, text, advice)
