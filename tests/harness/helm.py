"""Renders our Helm templates as Helm would, as far as they go: a small part of Go's template language.

No Helm is to be had where the tests run. What is here: values by their path, `quote`, `default`, `nindent`, `toYaml`,
`include`, `define`, `add`, `if`, `not`, `end`, and `{{-`/`-}}` trimming. Anything else is an error, so that the
templates stay within what is tested.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

_ACTION = re.compile(r"(?P<before>\s*)\{\{(?P<left>-?)\s*(?P<body>.*?)\s*(?P<right>-?)\}\}(?P<after>\s*)", re.DOTALL)
Token = tuple[str, str]


def rendered(chart: Path, values: dict[str, Any] | None = None, release: str = "gw") -> list[dict[str, Any]]:
    """Every document of the chart's templates with these values over the chart's own."""
    described = yaml.safe_load((chart / "Chart.yaml").read_text())
    scope = {
        "Values": _merged(yaml.safe_load((chart / "values.yaml").read_text()), values or {}),
        "Release": {"Name": release, "Namespace": "default", "Service": "Helm"},
        "Chart": {"Name": described["name"], "Version": described["version"], "AppVersion": described["appVersion"]},
    }
    made = _Renderer(scope)
    made.render((chart / "templates" / "_helpers.tpl").read_text())
    found = []
    for path in sorted((chart / "templates").glob("*.yaml")):
        found += [each for each in yaml.safe_load_all(made.render(path.read_text())) if each is not None]
    made.render((chart / "templates" / "NOTES.txt").read_text())
    return found


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return {key: _merged(below.get(key), above[key]) if key in above else below[key] for key in {**below, **above}}
    return above


def _tokens(text: str) -> list[Token]:
    """Texts and actions in turn, trimmed where the actions say so."""
    found: list[Token] = []
    at = 0
    for match in _ACTION.finditer(text):
        plain = text[at : match.start()] + ("" if match["left"] else match["before"])
        found += [("text", plain), ("action", match["body"])]
        at = match.end() if match["right"] else match.end() - len(match["after"])
    return [*found, ("text", text[at:])]


class _Renderer:
    def __init__(self, scope: dict[str, Any]) -> None:
        self._scope = scope
        self._parts: dict[str, list[Token]] = {}

    def render(self, text: str) -> str:
        tokens = _tokens(text)
        out, rest = self._block(tokens)
        assert not rest, f"an `end` too many before {rest[:2]}"
        return out

    def _block(self, tokens: list[Token], *, is_shown: bool = True) -> tuple[str, list[Token]]:
        """Up to the `end` that belongs to it, which is left out of the rest."""
        out: list[str] = []
        while tokens:
            (kind, body), tokens = tokens[0], tokens[1:]
            if kind == "text":
                out.append(body)
            elif body == "end":
                return "".join(out), tokens
            elif body.startswith("if "):
                is_true = bool(self._value(body[3:])) if is_shown else False
                inner, tokens = self._block(tokens, is_shown=is_true)
                out.append(inner if is_true else "")
            elif body.startswith("define "):
                depth, length = 1, 0
                while depth:
                    name = tokens[length][1] if tokens[length][0] == "action" else ""
                    depth += name.startswith(("if ", "define ")) - (name == "end")
                    length += 1
                self._parts[body[7:].strip('"')] = tokens[: length - 1]
                tokens = tokens[length:]
            elif is_shown:
                out.append(_text(self._value(body)))
        return "".join(out), []

    def _value(self, expression: str) -> Any:
        first, *pipes = [part.strip() for part in expression.split("|")]
        value = self._call(first.split(), None)
        for pipe in pipes:
            value = self._call(pipe.split(), [value])
        return value

    def _call(self, words: list[str], piped: list[Any] | None) -> Any:
        name, given = words[0], [self._operand(word) for word in words[1:]] + (piped or [])
        if name.startswith((".", '"')) or name.isdigit():
            assert len(words) == 1, words
            assert piped is None, words
            return self._operand(name)
        if name == "quote":
            return '"' + _text(given[0]).replace("\\", "\\\\").replace('"', '\\"') + '"'
        if name == "default":
            return given[1] or given[0]
        if name == "nindent":
            return "\n" + "\n".join(" " * given[0] + line if line else line for line in _text(given[1]).split("\n"))
        if name == "toYaml":
            return yaml.safe_dump(given[0], sort_keys=True).strip()
        if name == "include":
            return self._block(list(self._parts[given[0]]))[0]
        if name == "add":
            return given[0] + given[1]
        if name == "not":
            return not given[0]
        raise AssertionError(f"the tests' renderer has no {name!r}; keep the templates simple, or teach it")

    def _operand(self, word: str) -> Any:
        if word == ".":
            return self._scope
        if word.isdigit():
            return int(word)
        if word.startswith('"'):
            return word.strip('"')
        assert word.startswith("."), word
        value: Any = self._scope
        for step in word[1:].split("."):
            assert isinstance(value, dict), word
            assert step in value, f"{word}: nothing is called so in the chart's values"
            value = value[step]
        return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)
