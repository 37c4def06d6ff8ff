"""The chart by Helm itself (`make helm`, or `helm` on PATH): what it renders is what the other tests look at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.test_manifests import CHART, SHAPES, validate
from harness.helm import rendered

ROOT = Path(__file__).resolve().parents[2]
OLDEST, NEWEST = "1.29", "1.37"
"""Versions of Kubernetes whose schemas are asked."""


@pytest.fixture(scope="module")
def helm() -> str:
    own = ROOT / ".venv" / "helm" / "helm" / "helm"
    found = str(own) if own.exists() else shutil.which("helm")
    if found is None:
        pytest.skip("Helm is not here (make helm): the chart is rendered by the tests' own renderer alone")
    return found


def run(helm: str, folder: Path, *arguments: str | Path) -> str:
    """What Helm says; its own files go to `folder`. It needs no cluster for any of this."""
    environment = {**os.environ, "HELM_CACHE_HOME": str(folder), "HELM_CONFIG_HOME": str(folder),
                   "HELM_DATA_HOME": str(folder), "KUBECONFIG": os.devnull}  # fmt: skip
    done = subprocess.run([helm, *arguments], capture_output=True, text=True, env=environment, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def values_file(folder: Path, values: dict[str, Any]) -> Path:
    file = folder / "values.json"
    file.write_text(json.dumps(values))
    return file


@pytest.mark.parametrize("shape", SHAPES)
def test_helm_renders_what_the_tests_renderer_does_and_kubernetes_takes_it(
    helm: str, tmp_path: Path, shape: str
) -> None:
    values = values_file(tmp_path, SHAPES[shape])
    text = run(helm, tmp_path, "template", "gw", CHART, "--values", values)
    made = [each for each in yaml.safe_load_all(text) if each is not None]

    def by_name(documents: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
        return {(each["kind"], each["metadata"]["name"]): each for each in documents}

    assert by_name(made) == by_name(rendered(CHART, SHAPES[shape]))
    for each in made:
        for version in (OLDEST, NEWEST):
            validate(each, version)


@pytest.mark.parametrize("shape", SHAPES)
def test_helm_finds_no_fault_in_the_chart(helm: str, tmp_path: Path, shape: str) -> None:
    values = values_file(tmp_path, SHAPES[shape])
    assert "0 chart(s) failed" in run(helm, tmp_path, "lint", "--strict", CHART, "--values", values)


def test_helm_packs_the_chart_and_would_install_the_package(helm: str, tmp_path: Path) -> None:
    """With the notes that whoever installs it reads."""
    run(helm, tmp_path, "package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("routewright-*.tgz")
    said = run(helm, tmp_path, "install", "gw", package, "--dry-run=client")
    assert "kind: StatefulSet" in said
    assert "NOTES:" in said
    assert "{{" not in said


def test_helm_refuses_a_value_that_is_misspelt(helm: str, tmp_path: Path) -> None:
    values = values_file(tmp_path, {"autscaling": {"enabled": False}})
    with pytest.raises(AssertionError, match="autscaling"):
        run(helm, tmp_path, "template", "gw", CHART, "--values", values)
