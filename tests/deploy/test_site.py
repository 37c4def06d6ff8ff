"""The documentation builds as a site without a warning, and its reference tells what the code has."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from routewright.record.metrics import Metrics
from routewright.vitals import GAUGES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed (extra docs): the site is not built")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    for page in (ROOT / "docs").glob("*.md"):
        name = "index.html" if page.stem == "index" else f"{page.stem}/index.html"
        assert (site / name).exists(), name


def test_reference_has_every_metric_command_and_setting(site: Path) -> None:
    metrics = (site / "reference" / "metrics" / "index.html").read_text()
    for name in [*(family.name for family in Metrics().families()), *(name for name, *_ in GAUGES)]:
        assert name in metrics, name
    commands = (site / "reference" / "commands" / "index.html").read_text()
    for command in ("serve", "check-config", "doctor", "keys", "fit", "import-litellm"):
        assert f"routewright {command}" in commands
    settings = (site / "reference" / "settings" / "index.html").read_text()
    for key in ("master_key", "num_retries", "json_logs", "log_level", "quality", "rpm_limit", "api_base"):
        assert f"<code>{key}</code>" in settings, key
    assert "ROUTEWRIGHT_UPSTREAM_FIRST_BYTE_TIMEOUT_S" in settings


def test_page_loads_nothing_from_another_site(site: Path) -> None:
    text = (site / "index.html").read_text()
    assert "fonts.googleapis" not in text
    assert "cdn" not in text.lower()
