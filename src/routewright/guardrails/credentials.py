"""Secrets in text: keys by the shapes that their issuers give them, private keys, and words too random to be words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import log2
from typing import Any

from routewright.guardrails.finders import UPPER, WORD, Block, Finder
from routewright.guardrails.finding import ACTIONS, Finding, refuse_others, take

MIN_BITS = 4.2
"""Per character, of a word of 32 characters or more. English has some 4.1 over its letters, base64 5 and above at such
lengths; what is hexadecimal (4 at most) is a hash more often than a key, and passes."""
_DASHED = WORD + "_-"


def _is_random(text: str, start: int, end: int) -> int:
    word = text[start:end]
    kinds = (any(map(str.isupper, word)), any(map(str.islower, word)), any(map(str.isdigit, word)))
    counts = Counter(word)
    bits = -sum(count / len(word) * log2(count / len(word)) for count in counts.values())
    return end if all(kinds) and bits >= MIN_BITS else 0


FINDERS = (
    Block("private_key", "-----BEGIN ",
          r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[A-Za-z0-9+/=\s:,]{0,16384}"
          r"(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?",
          16600, 80),
    Finder("jwt", r"(?<![A-Za-z0-9_\-])eyJ[A-Za-z0-9_\-]{8,4096}\.[A-Za-z0-9_\-]{8,4096}\.[A-Za-z0-9_\-]{8,1024}",
           _DASHED + ".", 9300),
    Finder("aws_key", r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])", UPPER + "0123456789", 20),
    Finder("api_key", r"(?<![A-Za-z0-9])(?:sk|pk|rk|xai|gsk|key)[_\-][A-Za-z0-9_\-]{16,300}", _DASHED, 305),
    Finder("github_token", r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})",
           _DASHED, 270),
    Finder("gitlab_token", r"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_\-]{20,64}", _DASHED, 72),
    Finder("slack_token", r"(?<![A-Za-z0-9])xox[abeprs]-[A-Za-z0-9\-]{10,250}", _DASHED, 260),
    Finder("google_key", r"(?<![A-Za-z0-9])AIza[A-Za-z0-9_\-]{35}", _DASHED, 40),
    Finder("huggingface_token", r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,64}", _DASHED, 68),
    Finder("npm_token", r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{36}", _DASHED, 41),
    Finder("random", r"(?<![A-Za-z0-9+/_\-])[A-Za-z0-9+/_\-]{32,4096}={0,2}", _DASHED + "+/=", 4100, _is_random),
)  # fmt: skip
KINDS = tuple(dict.fromkeys(finder.kind for finder in FINDERS))


class Credentials(Finding):
    """`secrets`: `action: MASK` or `BLOCK` (default), `kinds`: those to look for (default: all)."""

    def __init__(self, name: str, params: Mapping[str, Any]) -> None:
        refuse_others(params, "action", "kinds")
        action = take(params, "action", str, "BLOCK").upper()
        kinds = take(params, "kinds", list, list(KINDS))
        if action not in ACTIONS:
            raise ValueError("action: expected MASK or BLOCK")
        if unknown := set(kinds) - set(KINDS):
            raise ValueError(f'kinds: "{sorted(unknown)[0]}" is not found here; found are {", ".join(KINDS)}')
        super().__init__(name, FINDERS, dict.fromkeys(kinds, action))
