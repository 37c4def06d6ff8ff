"""Reading a mapping key by key: types and ranges are checked where a value is taken, what nobody took is reported."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from routewright.config.problems import Problem, nearest, shown
from routewright.config.source import Node, plain_value

ENVIRONMENT = "os.environ/"
"""`os.environ/NAME` in place of a text means the variable's value."""


class Notes:
    """What one reading of a configuration finds, and the variables it may look at."""

    def __init__(self, environ: Mapping[str, str], *, lenient: bool) -> None:
        self.environ = environ
        self.lenient = lenient
        self.may_read_files = True
        """Whether a credential may be named by its file; not where callers of the management API wrote the entry."""
        self.errors: list[Problem] = []
        self.warnings: list[Problem | str] = []
        self.unsupported: dict[str, None] = {}
        """Paths of LiteLLM's keys that are set and do nothing here, in order."""

    def error(self, node: Node, field: str, message: str, suggestion: str | None = None) -> None:
        self.errors.append(node.problem(field, message, suggestion))

    def warn(self, node: Node, field: str, message: str, suggestion: str | None = None) -> None:
        self.warnings.append(node.problem(field, message, suggestion))

    def unknown(self, node: Node, field: str, suggestion: str | None) -> None:
        problem = Problem(node.file, node.key_line, field, "unknown key", suggestion)
        (self.warnings if self.lenient else self.errors).append(problem)


def variable_of(node: Node) -> str | None:
    """NAME of `os.environ/NAME`."""
    if isinstance(node.value, str) and node.value.startswith(ENVIRONMENT):
        return node.value[len(ENVIRONMENT) :].strip()
    return None


def kind(value: object) -> str:
    """What a value is, in words; never the value, which may be a credential."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "a mapping"


def is_off(node: Node) -> bool:
    """Set to what it would be if it weren't there."""
    return node.value is None or node.value is False or node.value in ([], {}, "")


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_VISIBLE = re.compile(r"[\x21-\x7e]+\Z")


class Section:
    """One mapping. Each `take`, and each typed reader, marks its key as known; `finish` reports the others.

    A typed reader gives None where the key is absent, null, or wrong; wrong ones are noted as errors. A variable that
    is not set makes its key absent, with a warning, unless the caller says what else (`on_unset`).
    """

    def __init__(self, node: Node, path: str, notes: Notes) -> None:
        self.node = node
        self.path = path
        self.notes = notes
        self.entries: dict[str, Node] = {}
        self.known: set[str] = set()
        if isinstance(node.value, dict):
            self.entries = node.value
        elif node.value is not None:
            notes.error(node, path, f"expected a mapping, found {kind(node.value)}")

    def field(self, key: str) -> str:
        return f"{self.path}.{shown(key)}" if self.path else shown(key)

    def error(self, key: str, message: str, suggestion: str | None = None) -> None:
        self.notes.error(self.entries.get(key, self.node), self.field(key), message, suggestion)

    def warn(self, key: str, message: str, suggestion: str | None = None) -> None:
        self.notes.warn(self.entries.get(key, self.node), self.field(key), message, suggestion)

    def know(self, *keys: str) -> None:
        """These keys exist; somebody else reads them, or nobody needs to."""
        self.known.update(keys)

    def take(self, key: str) -> Node | None:
        """The key's value as it stands; None if absent or null."""
        self.known.add(key)
        node = self.entries.get(key)
        return None if node is None or node.value is None else node

    def section(self, key: str) -> Section:
        """A mapping inside this one; empty where it is absent."""
        node = self.take(key)
        return Section(node or Node(None, self.node.file, self.node.line, self.node.line), self.field(key), self.notes)

    def scalar(self, key: str, on_unset: Callable[[str], None] | None = None) -> tuple[Any, bool]:
        """(value, whether a variable gave it). Text from a variable is read as YAML would read it."""
        node = self.take(key)
        if node is None:
            return None, False
        name = variable_of(node)
        if name is None:
            return node.value, False
        text = self.notes.environ.get(name)
        if text:
            return text, True
        if on_unset is not None:
            on_unset(name)
        else:
            self.warn(key, f"the variable {shown(name)} is not set; left out")
        return None, True

    def text(
        self, key: str, *, on_unset: Callable[[str], None] | None = None, least: int = 1, most: int = 4096
    ) -> str | None:
        value, _ = self.scalar(key, on_unset)
        if value is None:
            return None
        if not isinstance(value, str):
            hint = "; put it in quotes" if isinstance(value, bool | int | float) else ""
            self.error(key, f"expected text, found {kind(value)}{hint}")
            return None
        if not least <= len(value) <= most:
            self.error(key, "must not be empty" if not value else f"longer than {most} characters")
            return None
        if _CONTROL.search(value):
            self.error(key, "holds a control character")
            return None
        return value

    def token(self, key: str, *, on_unset: Callable[[str], None] | None = None) -> str | None:
        """Text that goes into a header: visible ASCII without spaces."""
        value, _ = self.scalar(key, on_unset)
        if value is None:
            return None
        if not isinstance(value, str):
            self.error(key, f"expected text, found {kind(value)}; put it in quotes")
        elif not value:
            self.error(key, "must not be empty")
        elif not _VISIBLE.match(value):
            self.error(key, "may hold visible ASCII characters only, no space and no line end")
        elif len(value) > 8192:
            self.error(key, "longer than 8192 characters")
        else:
            return value
        return None

    def number(self, key: str, *, least: float = 0.0, most: float = math.inf, above: bool = False) -> float | None:
        """A finite number in least..most; `above`: greater than `least`."""
        value, is_variable = self.scalar(key)
        if isinstance(value, str):
            value = plain_value(value.strip())
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.error(key, f"expected a number, found {kind(value)}")
            return None
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self.error(key, "expected a finite number")
            return None
        if number < least or number > most or (above and number == least):
            wanted = f"above {least:g}" if above else f"{least:g} or more"
            wanted = wanted if most == math.inf else f"{least:g}..{most:g}"
            self.error(key, f"expected {wanted}" + ("" if is_variable else f", found {number:g}"))
            return None
        return number

    def integer(self, key: str, *, least: int = 1, most: int = 2**53) -> int | None:
        value, is_variable = self.scalar(key)
        if isinstance(value, str):
            value = plain_value(value.strip())
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            value = int(value)  # `1e6`
        if isinstance(value, bool) or not isinstance(value, int):
            self.error(key, f"expected an integer, found {kind(value)}")
            return None
        if not least <= value <= most:
            wanted = f"{least} or more" if value < least else f"{most} or less"
            found = "" if is_variable else f", found {value}"
            self.error(key, f"expected {wanted}{found}")
            return None
        return value

    def boolean(self, key: str) -> bool | None:
        value, is_variable = self.scalar(key)
        if is_variable and isinstance(value, str):
            value = plain_value(value.strip())
        if value is None or isinstance(value, bool):
            return value
        self.error(key, f"expected true or false, found {kind(value)}")
        return None

    def names(self, key: str) -> tuple[str, ...] | None:
        """A list of texts, none empty, none twice; one text stands for a list of one."""
        node = self.take(key)
        return None if node is None else text_list(node, self.field(key), self.notes)

    def url(self, key: str, *, on_unset: Callable[[str], None] | None = None) -> str | None:
        """An http(s) address with a host, without user part, query or fragment."""
        value = self.text(key, on_unset=on_unset, most=2048)
        if value is None:
            return None
        fault = url_fault(value)
        if fault is None:
            return value
        self.error(key, fault)
        return None

    def sections(self, key: str, path: str | None = None) -> Iterator[Section]:
        """The mappings of a list; `path` is what their fields are called by, `key[0]` if None."""
        node = self.take(key)
        if node is None:
            return
        if not isinstance(node.value, list):
            self.error(key, f"expected a list, found {kind(node.value)}")
            return
        for index, entry in enumerate(node.value):
            here = f"{self.field(key)}[{index}]"
            if not isinstance(entry.value, dict):
                self.notes.error(entry, here, f"expected a mapping, found {kind(entry.value)}")
                continue
            yield Section(entry, here if path is None else path, self.notes)

    def finish(
        self,
        unsupported: Collection[str] = (),
        pattern: re.Pattern[str] | None = None,
        *,
        silent: Collection[str] = (),
    ) -> None:
        """Report what nobody took: known to LiteLLM, or a mistake in writing."""
        for key, node in self.entries.items():
            if key in self.known or key in silent:
                continue
            if key in unsupported or (pattern is not None and pattern.match(key)):
                if not is_off(node):
                    self.notes.unsupported[self.field(key)] = None
                continue
            self.notes.unknown(node, self.field(key), nearest(key, {*self.known, *unsupported, *silent}))


def text_list(node: Node, field: str, notes: Notes) -> tuple[str, ...] | None:
    """As `Section.names`, of a node."""
    entries = node.value if isinstance(node.value, list) else [node]
    found: list[str] = []
    for entry in entries:
        value = entry.value
        name = variable_of(entry)
        if name is not None:
            value = notes.environ.get(name)
            if not value:
                notes.warn(entry, field, f"the variable {shown(name)} is not set; left out")
                continue
        if not isinstance(value, str):
            notes.error(entry, field, f"expected a list of names, found {kind(value)} in it")
            return None
        if not value or _CONTROL.search(value):
            notes.error(entry, field, "a name is empty or holds a control character")
            return None
        if value in found:
            notes.error(entry, field, f'"{shown(value)}" stands here twice')
            return None
        found.append(value)
    return tuple(found)


_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])\Z")


def url_fault(value: str) -> str | None:
    """What is wrong with an address; None: nothing."""
    if not _VISIBLE.match(value) or "\\" in value:
        return "an address may hold visible ASCII characters only"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return "expected an http(s) address"
    if parts.scheme not in ("http", "https"):
        return "expected an address that starts with http:// or https://"
    if "@" in parts.netloc:
        return "an address must not hold a user name or password"
    host = parts.netloc
    if port is not None or host.endswith(":"):
        host = host.rpartition(":")[0]
    if not _HOST.match(host) or port == 0:
        return "expected an address with a host"
    if parts.query or parts.fragment or "?" in value or "#" in value:
        return "an address must not hold a query or a fragment"
    return None


def plain(node: Node, notes: Notes, field: str) -> Any:
    """A value without its places, variables filled in; for what goes upstream as it is."""
    value = node.value
    if isinstance(value, list):
        return [plain(entry, notes, field) for entry in value]
    if isinstance(value, dict):
        return {key: plain(entry, notes, f"{field}.{shown(key)}") for key, entry in value.items()}
    name = variable_of(node)
    if name is not None:
        text = notes.environ.get(name)
        if not text:
            notes.warn(node, field, f"the variable {shown(name)} is not set; left out")
            return None
        return plain_value(text)
    if isinstance(value, float) and not math.isfinite(value):
        notes.error(node, field, "expected a finite number")
        return None
    return value
