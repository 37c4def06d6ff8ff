"""The image without an engine: its file is read as a builder reads it, and what its steps say is run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

from deploy.test_manifests import DEPLOY, ROOT, VARIABLES
from harness.gateway import base_config, running
from harness.upstream import Upstream
from routewright.cli import make_parser

DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text()


class Step(NamedTuple):
    """One instruction, with the lines that it goes on in."""

    word: str
    rest: str


def steps(text: str) -> list[Step]:
    """Source: Dockerfile reference, "Format": comments go, a line that ends in a backslash goes on."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [Step(*line.strip().split(None, 1)) for line in joined.splitlines()]


STEPS = steps(DOCKERFILE)
STAGES = [at for at, step in enumerate(STEPS) if step.word == "FROM"]
LAST = STEPS[STAGES[-1] :]


def rest_of(word: str) -> list[str]:
    return [step.rest for step in LAST if step.word == word]


def test_every_instruction_is_one_and_both_stages_have_one_base_that_can_be_pinned() -> None:
    known = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "STOPSIGNAL",
             "USER", "VOLUME", "WORKDIR"}  # fmt: skip
    assert {step.word for step in STEPS} <= known
    assert STEPS[0].word == "ARG"
    name, base = STEPS[0].rest.split("=")
    assert [STEPS[at].rest.split()[0] for at in STAGES] == ["${" + name + "}"] * 2
    image, _, tag = base.partition(":")
    assert (image, tag) == ("python", "3.12-slim"), "a version, never what is newest"
    assert f"{name}=" in (ROOT / "docs" / "deployment.md").read_text()


def test_what_goes_into_the_last_stage_comes_from_the_first() -> None:
    (copy,) = rest_of("COPY")
    source, place = re.fullmatch(r"--from=build (\S+) (\S+)", copy).groups()  # type: ignore[union-attr]
    assert source == place == "/opt/routewright"
    first = STEPS[: STAGES[-1]]
    assert any(step.word == "RUN" and place in step.rest for step in first)


def test_shell_steps_are_read_by_a_shell_and_name_options_that_their_programs_have() -> None:
    for step in STEPS:
        if step.word == "RUN":
            subprocess.run(["sh", "-n", "-c", step.rest], check=True)
    (made,) = rest_of("RUN")
    for program in ("useradd", "install"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not here to be asked for its options")
        told = subprocess.run([program, "--help"], capture_output=True, text=True).stdout
        part = next(part for part in made.split("&&") if part.split()[0] == program)
        for option in re.findall(r"(?<= )--?[a-z][a-z-]*", part):
            assert re.search(rf"(^|[\s,]){re.escape(option)}\b", told, re.MULTILINE), (program, option)


def test_image_runs_as_nobody_and_its_variables_and_words_are_known() -> None:
    assert rest_of("USER") == ["10001:10001"], "a number: Kubernetes can't see that a name is not root"
    assert LAST.index(Step("USER", "10001:10001")) > max(at for at, step in enumerate(LAST) if step.word == "RUN")
    (entry,), (command,) = rest_of("ENTRYPOINT"), rest_of("CMD")
    assert json.loads(entry) == ["routewright"], "no shell between: it gets the signals"
    assert callable(make_parser().parse_args(json.loads(command)).run)
    assert rest_of("STOPSIGNAL") == ["SIGTERM"]
    told = dict(re.findall(r"(\w+)=(\S+)", " ".join(rest_of("ENV"))))
    source = "".join(path.read_text() for path in (ROOT / "src" / "routewright").rglob("*.py"))
    for name in told.keys() - {"PATH", "PYTHONUNBUFFERED"}:
        assert f'"{name}"' in source, f"nothing reads {name}"
    assert not [name for name in told if re.search("KEY|SECRET|TOKEN|PASSWORD", name)]


def test_health_check_tells_a_gateway_that_serves_from_one_that_does_not(upstream: Upstream) -> None:
    (check,) = rest_of("HEALTHCHECK")
    program, *words = json.loads(check[check.index("CMD") + 3 :])
    assert program == "python3"
    with running(base_config(upstream)) as gateway:
        words = [word.replace(":4000/", f":{gateway.port}/") for word in words]
        assert str(gateway.port) in " ".join(words)
        assert subprocess.run([sys.executable, *words], capture_output=True).returncode == 0
    assert subprocess.run([sys.executable, *words], capture_output=True).returncode != 0


# --- what the builder is given ------------------------------------------------------------------------------------


def is_given(path: str, rules: list[str]) -> bool:
    """Source: Dockerfile reference, ".dockerignore file": the last rule that matches a path or its folder holds."""
    found = True
    places = [path, *map(str, PurePosixPath(path).parents)]
    for rule in rules:
        is_back, pattern = rule.startswith("!"), rule.removeprefix("!")
        shape = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(shape, place) for place in places):
            found = is_back
    return found


def test_builder_is_given_no_secret_no_history_and_nothing_that_is_not_copied() -> None:
    rules = (ROOT / ".dockerignore").read_text().split()
    for path in (".git/config", ".env", "deploy/compose/.env", ".venv/bin/python", "tests/conftest.py", "config.yaml",
                 "src/routewright/__pycache__/x.pyc", "data/store.sqlite3", "deploy/docker/Dockerfile"):  # fmt: skip
        assert not is_given(path, rules), path
    for folder, _, files in os.walk(ROOT / "src"):
        if "__pycache__" not in folder:
            for file in files:
                assert is_given(str((Path(folder) / file).relative_to(ROOT)), rules), file
    for path in copied():
        assert path.exists(), path
        assert is_given(str(path.relative_to(ROOT)), rules), path


def copied() -> list[Path]:
    """What the first stage of the image is given of a checkout."""
    return [
        ROOT / name
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for name in line.split()[:-1]
    ]


def test_steps_of_the_image_are_a_script_that_a_shell_reads() -> None:
    script = DEPLOY / "docker" / "install.sh"
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", str(script)], check=True)


def test_steps_of_the_image_make_a_gateway_in_a_clean_folder(tmp_path: Path) -> None:
    """What RUN does, with what COPY gives it. Half a minute and 200 MB of packages, so only where it is asked for."""
    if not os.environ.get("ROUTEWRIGHT_LONG"):
        pytest.skip("set ROUTEWRIGHT_LONG to install the image's content into a clean folder")
    checkout = tmp_path / "src"
    for path in copied():
        place = checkout / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(path, place, ignore=ignored) if path.is_dir() else shutil.copy(path, place)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    environment |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    script = checkout / "deploy" / "docker" / "install.sh"
    subprocess.run(["sh", str(script), str(checkout), str(tmp_path / "opt")], check=True, env=environment, cwd=tmp_path)
    program = tmp_path / "opt" / "bin" / "routewright"
    shown = subprocess.run(
        [program, "check-config", DEPLOY / "compose" / "config.yaml"],
        capture_output=True,
        text=True,
        env={**environment, **VARIABLES},
        cwd=tmp_path,
    )
    assert "config.yaml: good" in shown.stdout, shown.stderr
    assert not (tmp_path / "opt" / "bin" / "pip").exists()
