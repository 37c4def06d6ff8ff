"""Pages of the site that are made of the code: settings, metrics and commands."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from routewright import settings as settings_module
from routewright.cli import make_parser
from routewright.config import load_text, schema
from routewright.config.section import Section
from routewright.record.families import Counter, Histogram
from routewright.record.metrics import Metrics
from routewright.vitals import GAUGES

EVERY_SECTION = """
model_list:
  - {model_name: m, litellm_params: {model: openai/m, api_key: k}, model_info: {mode: chat}}
general_settings: {master_key: k}
litellm_settings: {drop_params: false}
router_settings: {num_retries: 2}
keys: [{key: k2, alias: a}]
routes: {auto: {quality: 0.8}}
"""
"""With one entry of each list, so that each of their readers is called."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for name, make in (("settings", settings_page), ("metrics", metrics_page), ("commands", commands_page)):
        files.append(File.generated(config, f"reference/{name}.md", content=make()))
    return files


# --- settings -----------------------------------------------------------------------------------------------------


def settings_page() -> str:
    """Keys by section as the reader asks for them, and what a setting means where its field says so."""
    about = field_docs()
    lines = [
        "# Settings", "",
        "Made of the code. What stands here does something; LiteLLM's other keys are known, and named in one warning "
        "at the start. An unknown key stops the start, with its line and the nearest name.", "",
    ]  # fmt: skip
    for section, keys in known_keys().items():
        lines += [f"## `{section}`", "", "| key | |", "| --- | --- |"]
        lines += [f"| `{key}` | {about.get(key, '')} |" for key in sorted(keys)]
        lines.append("")
    lines += ["## From the environment", "", "| variable | default | |", "| --- | --- | --- |"]
    for prefix, kind in (("FRONT", settings_module.FrontLimits), ("UPSTREAM", settings_module.UpstreamSettings)):
        docs = docs_of(kind)
        for field in dataclasses.fields(kind):
            if isinstance(field.default, int | float) and not isinstance(field.default, bool):
                name = f"ROUTEWRIGHT_{prefix}_{field.name.upper()}"
                lines.append(f"| `{name}` | {field.default:g} | {docs.get(field.name, '')} |")
    lines += ["", "## Known to LiteLLM, without effect here", ""]
    for title, names in (
        ("general_settings", schema.GENERAL_SETTINGS), ("litellm_settings", schema.LITELLM_SETTINGS),
        ("router_settings", schema.ROUTER_SETTINGS),
    ):  # fmt: skip
        lines += [f"`{title}`: " + ", ".join(f"`{name}`" for name in sorted(names)), ""]
    return "\n".join(lines)


def known_keys() -> dict[str, set[str]]:
    """Section -> the keys that its reader takes. What is read is watched, rather than listed a second time."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    finish = Section.finish

    def watched(self: Section, *rest: Any, **named: Any) -> None:
        finish(self, *rest, **named)
        path = self.path.split("[")[0] or "config.yaml"
        found[path] |= {key for key in self.known if key.isidentifier()}

    Section.finish = watched  # type: ignore[method-assign]
    try:
        load_text(EVERY_SECTION, environ={})
    finally:
        Section.finish = finish  # type: ignore[method-assign]
    return {path: keys for path, keys in sorted(found.items()) if keys}


def field_docs() -> dict[str, str]:
    """Name -> what the text behind a field of any settings class says."""
    found: dict[str, str] = {}
    for _, kind in inspect.getmembers(settings_module, inspect.isclass):
        if dataclasses.is_dataclass(kind) and kind.__module__ == settings_module.__name__:
            for name, text in docs_of(kind).items():
                found.setdefault(name, text)
    return found


def docs_of(kind: type) -> dict[str, str]:
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for before, after in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[before.target.id] = _cell(str(after.value.value))
    return found


# --- metrics ------------------------------------------------------------------------------------------------------


def metrics_page() -> str:
    lines = [
        "# Metrics", "",
        "Made of the code. Counters end in `_total`, histograms in `_bucket`, `_sum` and `_count`.", "",
        "| name | kind | labels | |", "| --- | --- | --- | --- |",
    ]  # fmt: skip
    rows = [(name, "gauge", labels, about) for name, about, labels, _ in GAUGES]
    for family in Metrics().families():
        kind = "counter" if isinstance(family, Counter) else "histogram" if isinstance(family, Histogram) else "gauge"
        rows.append((family.name, kind, family.label_names, family.help_text))
    for name, kind, labels, about in sorted(rows):
        shown = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}{'_total' if kind == 'counter' else ''}` | {kind} | {shown} | {_cell(about)} |")
    return "\n".join([*lines, ""])


# --- commands -----------------------------------------------------------------------------------------------------


def commands_page() -> str:
    os.environ["COLUMNS"] = "100"
    lines = ["# Commands", "", "Made of the code: what each command's `--help` says.", ""]
    for name, parser in subcommands(make_parser()):
        lines += [f"## `routewright {name}`", "", "```text", parser.format_help().strip(), "```", ""]
    return "\n".join(lines)


def subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _cell(text: str) -> str:
    """One line that a table takes."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":  # what the site's pages would be, as files
    folder = Path("reference")
    folder.mkdir(exist_ok=True)
    for page, make in (("settings", settings_page), ("metrics", metrics_page), ("commands", commands_page)):
        (folder / f"{page}.md").write_text(make())
