"""YAML -> a tree with lines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from routewright.config.problems import ConfigError
from routewright.config.source import MAX_DEPTH, Node, parse_text, read_tree


def plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: plain(value) for key, value in node.value.items()}
    if isinstance(node.value, list):
        return [plain(value) for value in node.value]
    return node.value


def faults(text: str) -> list[tuple[int | None, str]]:
    with pytest.raises(ConfigError) as caught:
        parse_text(text, "config.yaml")
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_every_value_knows_its_line_and_its_keys_line() -> None:
    tree = parse_text("a: 1\nb:\n  - x\n  - y: [1,\n      2]\n", "f.yaml")
    assert isinstance(tree.value, dict)
    b = tree.value["b"]
    assert (b.key_line, b.line) == (2, 3)
    assert isinstance(b.value, list)
    inner = b.value[1].value
    assert isinstance(inner, dict)
    numbers = inner["y"].value
    assert isinstance(numbers, list)
    assert [number.line for number in numbers] == [4, 5]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("off", False),
        ("~", None),
        ("", None),
        ("600", 600),
        ("1_000", 1000),
        ("-3", -3),
        ("0x1F", 31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e-6", 1e-6),
        ("5.0E-07", 5e-7),
        (".inf", math.inf),
        ("2024-02-01", "2024-02-01"),
        ("010", "010"),
        ("1:30", "1:30"),
        ("'600'", "600"),
        ("'true'", "true"),
        ("!!str 600", "600"),
        ("! 600", "600"),
        ("y", "y"),
        (".", "."),
        ("e5", "e5"),
        ("1" * 30, "1" * 30),
    ],
)
def test_a_scalar_means_what_its_writer_sees(text: str, value: object) -> None:
    found = plain(parse_text(f"a: {text}", "f"))["a"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_text_as_written() -> None:
    assert plain(parse_text("on: 1\n4: 2\nnull: 3", "f")) == {"on": 1, "4": 2, "null": 3}


def test_aliases_and_merge_keys_work_and_the_own_key_wins() -> None:
    text = "base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\nlist: {<<: [*b, {z: 4}]}\nagain: *b"
    assert plain(parse_text(text, "f")) == {
        "base": {"x": 1, "y": 2},
        "use": {"x": 1, "y": 3},
        "list": {"x": 1, "y": 2, "z": 4},
        "again": {"x": 1, "y": 2},
    }


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3", 3, 'the key "a" stands here twice'),
        ("a:\n  x: 1\n  x: 1", 3, 'the key "x" stands here twice'),
        ("a: 1\n---\nb: 2", 2, "a second document"),
        ("a: *nowhere", 1, "an alias without its anchor above it"),
        ("a: &a [*a]", 1, "an alias without its anchor above it"),
        ("a: !!python/object:os.system x", 1, "a tag that is not allowed here"),
        ("a: !mine {}", 1, "a tag that is not allowed here"),
        ("a: !!binary aGk=", 1, "a tag that is not allowed here"),
        ("? [a]\n: 1", 1, "a key must be text"),
        ("<<: 3", 1, "<< wants a mapping"),
        ("a: 1\n  b: 2", 2, "not YAML"),
        ("a: [1\n", 2, "not YAML"),
        ("a: 'x", 1, "not YAML"),
        ("\ta: 1", 1, "not YAML"),
        ("a: 1\nb: \x01", 2, "a character that YAML does not allow"),
        ("a: " + "[" * (MAX_DEPTH + 1), 1, "nested deeper than"),
        ("a: " + "[" * 100_000, 1, "nested deeper than"),
        ("a: " + "{a: " * 100_000, 1, "nested deeper than"),
    ],
)
def test_a_fault_is_named_with_its_line(text: str, line: int, message: str) -> None:
    [(found_line, found)] = faults(text)
    assert message in found
    assert found_line == line


def test_aliases_of_aliases_do_not_grow_without_bound() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    [(_, message)] = faults("\n".join(lines))
    assert "more than 50000 values" in message


def test_merge_keys_do_not_grow_without_bound() -> None:
    base = "base: &b {" + ", ".join(f"k{n}: 1" for n in range(1000)) + "}\n"
    [(_, message)] = faults(base + "a:\n  <<: [" + ", ".join(["*b"] * 5000) + "]")
    assert "more than 50000 values" in message


def test_a_syntax_error_does_not_quote_the_file() -> None:
    [(_, message)] = faults("api_key: sk-canary-1234567890\n  b: : sk-canary-1234567890\n")
    assert "canary" not in message


# --- files ----------------------------------------------------------------------------------------------------------


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / "main.yaml"


def file_faults(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_tree(path)
    return [str(problem) for problem in caught.value.problems]


def test_included_files_append_their_lists_and_join_their_sections(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        main="include: [models.yaml]\nmodel_list: [a]\ns: {x: 1}\n",
        models="include: more.yaml\nmodel_list: [b]\ns: {y: 2}\nt: {z: 3}\n",
        more="model_list: [c]",
    )
    assert plain(read_tree(path)) == {"model_list": ["a", "b", "c"], "s": {"x": 1, "y": 2}, "t": {"z": 3}}


def test_a_key_set_in_two_files_is_an_error_that_names_both_places(tmp_path: Path) -> None:
    path = write(tmp_path, main="include: [o.yaml]\ns:\n  x: 1", o="\ns: {x: 2}")
    assert file_faults(path) == ["o.yaml:2: s.x: has a value in main.yaml:3 already"]


def test_what_can_not_be_included_is_named_where_it_is_asked_for(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        main="include:\n  - missing.yaml\n  - 3\n  - main.yaml\n  - s3://bucket/x\n  - bad.yaml\n  - .\n",
        bad="a: 1\na: 2",
    )
    assert file_faults(path) == [
        "main.yaml:2: include[0]: no such file",
        "main.yaml:3: include[1]: expected a path",
        "main.yaml:4: include[2]: includes itself",
        "main.yaml:5: include[3]: expected the path of a file",
        'bad.yaml:2: not YAML: the key "a" stands here twice',
        "main.yaml:7: include[5]: a directory",
    ]


def test_files_that_include_one_another_end(tmp_path: Path) -> None:
    path = write(tmp_path, main="include: [a.yaml]", a="include: [main.yaml]")
    assert file_faults(path) == ["a.yaml:1: include[0]: includes itself"]


def test_a_tree_of_includes_is_bounded(tmp_path: Path) -> None:
    for n in range(6):
        (tmp_path / f"l{n}.yaml").write_text(f"include: [{', '.join([f'l{n + 1}.yaml'] * 6)}]")
    (tmp_path / "l6.yaml").write_text("{}")
    assert any("more than 32 files" in fault for fault in file_faults(tmp_path / "l0.yaml"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "f.yaml:1: empty"),
        (b"# nothing\n", "f.yaml:1: empty"),
        (b"- a\n", "f.yaml:1: expected a mapping of sections"),
        (b"a: 1\nb: \xff\n", "f.yaml:2: not UTF-8"),
        (b"a: " + b"x" * 1024 * 1024, "f.yaml: larger than 1048576 bytes"),
    ],
)
def test_a_file_that_can_not_be_read_says_why(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(content)
    assert file_faults(path) == [message]


def test_a_file_that_is_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert file_faults(tmp_path) == [f"{tmp_path.name}: a directory"]
    assert file_faults(tmp_path / "none.yaml") == ["none.yaml: no such file"]
    assert len(file_faults(tmp_path / "loop")) == 1
    assert len(file_faults(tmp_path / "a\0b")) == 1


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1")
    assert plain(read_tree(path)) == {"a": 1}
