"""YAML -> a tree that knows the file and line of each key and value.

YAML as LiteLLM reads it (1.1 by PyYAML's safe loader), but without what changes a value behind its writer's back:
duplicate keys are an error, dates, octal and base-60 numbers stay text, `1e-6` is a number. Aliases and `<<` work, as
long as the tree stays small when written out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from routewright.config.problems import ConfigError, Problem, shown

MAX_FILE_BYTES = 1024 * 1024
MAX_NODES = 50_000
"""In one file with its aliases written out."""
MAX_DEPTH = 24
MAX_FILES = 32

Value = None | bool | int | float | str | list["Node"] | dict[str, "Node"]


@dataclass(slots=True)
class Node:
    """A value and where it stands."""

    value: Value
    file: str
    line: int
    key_line: int
    """Line of the key that it belongs to; `line` where there is none."""
    size: int = 1
    """Nodes in it, aliases written out."""

    def problem(self, field: str, message: str, suggestion: str | None = None) -> Problem:
        return Problem(self.file, self.line, field, message, suggestion)


def tree_of(value: Any, file: str) -> Node:
    """Plain JSON as a tree."""
    if isinstance(value, Mapping):
        return Node({str(key): tree_of(entry, file) for key, entry in value.items()}, file, 1, 1)
    if isinstance(value, list):
        return Node([tree_of(entry, file) for entry in value], file, 1, 1)
    return Node(value, file, 1, 1)


def parse_text(text: str, file: str) -> Node:
    """One YAML document as a tree. Raises ConfigError with the first fault, since what follows one can't be trusted."""
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError([Problem(file, None, "", f"larger than {MAX_FILE_BYTES} bytes")])
    builder = _Builder(file)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # Its text also quotes the file's lines, which may hold keys: only what is wrong is taken over.
        raise ConfigError([
            Problem(file, mark.line + 1 if mark else None, "", f"not YAML: {shown(error.problem or 'syntax error')}")
        ]) from None  # fmt: skip
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else None
        raise ConfigError([Problem(file, line, "", "not YAML: a character that YAML does not allow")]) from None
    except (yaml.YAMLError, UnicodeError):
        raise ConfigError([Problem(file, None, "", "not YAML")]) from None
    return builder.root if builder.root is not None else Node(None, file, 1, 1)


def read_tree(path: Path, files: list[Path] | None = None) -> Node:
    """The file with what it includes merged in: lists are appended, sections are joined key by key.

    `files` gets every file that was read. Paths in `include` are relative to the file they stand in. Raises
    ConfigError, also where a key has a value in two files.
    """
    problems: list[Problem] = []
    budget = [MAX_FILES]
    root = _read_with_includes(path, path.name, (), budget, problems, [] if files is None else files)
    if problems:
        raise ConfigError(problems)
    return root


def _read_with_includes(
    path: Path, name: str, above: tuple[Path, ...], budget: list[int], problems: list[Problem], files: list[Path]
) -> Node:
    files.append(path)
    root = parse_text(_read_file(path, name), name)
    if not isinstance(root.value, dict):
        message = "empty" if root.value is None else "expected a mapping of sections"
        problems.append(root.problem("", message))
        return Node({}, name, 1, 1)
    include = root.value.pop("include", None)
    if include is None or include.value is None:
        return root
    here = (*above, path.resolve())
    entries = include.value if isinstance(include.value, list) else [include]
    for index, entry in enumerate(entries):
        field = f"include[{index}]"
        if not isinstance(entry.value, str) or not entry.value:
            problems.append(entry.problem(field, "expected a path"))
            continue
        if "\0" in entry.value or "://" in entry.value:
            problems.append(entry.problem(field, "expected the path of a file"))
            continue
        budget[0] -= 1
        if budget[0] <= 0:
            problems.append(entry.problem(field, f"more than {MAX_FILES} files in all"))
            break
        other = path.parent / entry.value
        try:
            if other.resolve() in here:
                problems.append(entry.problem(field, "includes itself"))
                continue
            part = _read_with_includes(other, entry.value, here, budget, problems, files)
        except ConfigError as error:
            problems.extend(
                entry.problem(field, problem.message) if problem.line is None else problem for problem in error.problems
            )
            continue
        except (OSError, RuntimeError):  # resolve() on a loop of links
            problems.append(entry.problem(field, "can't be read"))
            continue
        _merge(root, part, "", problems)
    return root


def _read_file(path: Path, name: str) -> str:
    try:
        if not path.is_file():
            found = "a directory" if path.is_dir() else "no such file"
            raise ConfigError([Problem(name, None, "", found)])
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror or "can't be read") if isinstance(error, OSError) else "no path"
        raise ConfigError([Problem(name, None, "", f"can't be read: {reason}")]) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError([Problem(name, None, "", f"larger than {MAX_FILE_BYTES} bytes")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(name, data.count(b"\n", 0, error.start) + 1, "", "not UTF-8")]) from None


def _merge(into: Node, part: Node, field: str, problems: list[Problem]) -> None:
    assert isinstance(into.value, dict)
    assert isinstance(part.value, dict)
    for key, node in part.value.items():
        here = f"{field}.{key}" if field else key
        old = into.value.get(key)
        if old is None or old.value is None:
            into.value[key] = node
        elif isinstance(old.value, list) and isinstance(node.value, list):
            # A new list: the old one may stand in several places by an alias.
            into.value[key] = replace(old, value=[*old.value, *node.value])
        elif isinstance(old.value, dict) and isinstance(node.value, dict):
            joined = replace(old, value=dict(old.value))
            into.value[key] = joined
            _merge(joined, node, here, problems)
        elif node.value is not None:
            problems.append(node.problem(shown(here), f"has a value in {old.file}:{old.line} already"))


# --- events -> tree -------------------------------------------------------------------------------------------------

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STANDARD = "tag:yaml.org,2002:"
_MERGE_KEY = "<<"


class _Fault(yaml.MarkedYAMLError):  # type: ignore[misc, unused-ignore]
    """A fault that the builder finds; leaves `yaml.parse` as its own do."""


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    node: Node
    anchor: str | None
    mark: Any
    key: str | None = None
    key_mark: Any = None
    merged: list[Node] | None = None


class _Builder:
    """Makes a tree of events, without recursion: depth and size are checked before anything grows."""

    def __init__(self, file: str) -> None:
        self.root: Node | None = None
        self._file = file
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._merged = 0
        self._raw = ""
        self._documents = 0

    def take(self, event: Any) -> None:
        mark = event.start_mark
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event), event.anchor, mark)
        elif isinstance(event, yaml.AliasEvent):
            target = self._anchors.get(event.anchor or "")
            if target is None:
                raise _Fault(None, None, "an alias without its anchor above it", mark)
            self._raw = str(target.value)
            self._add(replace(target, line=mark.line + 1, key_line=mark.line + 1), None, mark)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            is_list = isinstance(event, yaml.SequenceStartEvent)
            if event.tag not in (None, "!", _STANDARD + ("seq" if is_list else "map")):
                raise _Fault(None, None, "a tag that is not allowed here", mark)
            if len(self._open) >= MAX_DEPTH:
                raise _Fault(None, None, f"nested deeper than {MAX_DEPTH}", mark)
            if self._open and isinstance(self._open[-1].node.value, dict) and self._open[-1].key is None:
                raise _Fault(None, None, "a key must be text", mark)
            line = mark.line + 1
            self._open.append(_Open(Node([] if is_list else {}, self._file, line, line), event.anchor, mark))
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            done = self._open.pop()
            for part in done.merged or ():
                self._merge_into(done.node, part, done.mark)
            self._add(done.node, done.anchor, done.mark)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _Fault(None, None, "a second document", mark)

    def _add(self, node: Node, anchor: str | None, mark: Any) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._open:
            self.root = node
            return
        holder = self._open[-1]
        container = holder.node.value
        if isinstance(container, list):
            container.append(node)
        else:
            assert isinstance(container, dict)
            if holder.key is None:
                holder.key, holder.key_mark = self._key(node, mark), mark
                return
            key, holder.key = holder.key, None
            if key == _MERGE_KEY:
                parts = node.value if isinstance(node.value, list) else [node]
                if not all(isinstance(part.value, dict) for part in parts):
                    raise _Fault(None, None, "<< wants a mapping, or a list of mappings", mark)
                holder.merged = [*(holder.merged or ()), *parts]
                return
            if key in container:
                raise _Fault(None, None, f'the key "{shown(key)}" stands here twice', holder.key_mark)
            container[key] = replace(node, key_line=holder.key_mark.line + 1)
        holder.node.size += node.size
        if holder.node.size > MAX_NODES:
            raise _Fault(None, None, f"more than {MAX_NODES} values", mark)

    def _merge_into(self, node: Node, part: Node, mark: Any) -> None:
        assert isinstance(node.value, dict)
        assert isinstance(part.value, dict)
        self._merged += len(part.value)
        for key, value in part.value.items():
            if key not in node.value:
                node.value[key] = value
                node.size += value.size
        if self._merged > MAX_NODES or node.size > MAX_NODES:
            raise _Fault(None, None, f"more than {MAX_NODES} values", mark)

    def _key(self, node: Node, mark: Any) -> str:
        if isinstance(node.value, list | dict):
            raise _Fault(None, None, "a key must be text", mark)
        if isinstance(node.value, str):
            return node.value
        return self._raw  # `on: ...` and `1: ...`: as written

    def _scalar(self, event: Any) -> Node:
        line = event.start_mark.line + 1
        self._raw = event.value
        tag = event.tag
        if tag in (None, "!"):
            is_text = tag == "!" or not event.implicit[0]
            value: Value = event.value if is_text else plain_value(event.value)
        elif tag == _STANDARD + "str":
            value = event.value
        elif tag in (_STANDARD + "int", _STANDARD + "float", _STANDARD + "bool", _STANDARD + "null"):
            value = plain_value(event.value)
        else:
            raise _Fault(None, None, "a tag that is not allowed here", event.start_mark)
        return Node(value, self._file, line, line)


_TRUE = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})
_FALSE = frozenset({"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,24})\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,16}\Z")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]{0,39}\.[0-9]{0,40}|\.[0-9]{1,40}|[0-9][0-9_]{0,39}(?=[eE]))(?:[eE][-+]?[0-9]{1,4})?\Z"
)
_SPECIAL = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}


def plain_value(text: str) -> bool | int | float | str | None:
    """What an unquoted scalar means."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INTEGER.match(text):
        return int(text.replace("_", ""))
    if _HEX.match(text):
        return int(text, 16)
    if _FLOAT.match(text):
        return float(text.replace("_", ""))
    return _SPECIAL.get(text.lower(), text)
