"""What people deploy by is what its readers take: schemas of Kubernetes and compose, a unit, an image's steps, and our
own configuration in each of them."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from harness.helm import rendered
from routewright.cli import make_parser
from routewright.config import load_settings, load_text

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "routewright"
KUBERNETES = "1.31"
VARIABLES = {
    "MASTER_KEY": "a-master-key-of-good-length", "OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k",
    "DATABASE_URL": "postgresql://u:p@h/d", "REDIS_URL": "redis://h:6379/0",
}  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "everything on": {
        "externalSecret": {"enabled": True}, "imagePullSecrets": [{"name": "registry"}], "workers": 4,
        "persistence": {"storageClassName": "fast"}, "nodeSelector": {"disk": "ssd"}, "image": {"tag": "v1"},
        "tolerations": [{"key": "gateway", "operator": "Exists", "effect": "NoSchedule"}],
    },
    "everything off": {
        "autoscaling": {"enabled": False}, "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False}, "replicaCount": 1,
    },
}  # fmt: skip


@pytest.fixture(params=SHAPES, ids=lambda name: name.replace(" ", "-"))
def documents(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return rendered(CHART, SHAPES[request.param])


def one(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [each for each in documents if each["kind"] == kind]
    return found


def test_kubernetes_takes_every_document_of_the_chart(documents: list[dict[str, Any]]) -> None:
    """By Kubernetes' own schemas, strictly: an unknown field is a fault. The templates are rendered by the tests' own
    small renderer; `test_helm.py` compares it with Helm."""
    for each in documents:
        if each["apiVersion"].startswith("external-secrets.io/"):
            continue  # a resource of somebody else's operator, of which there is no schema here
        kubernetes_validate.validate(each, KUBERNETES, strict=True)
    assert len({(each["kind"], each["metadata"]["name"]) for each in documents}) == len(documents)


def test_chart_has_what_operations_want() -> None:
    documents = rendered(CHART, SHAPES["everything on"])
    kinds = {each["kind"] for each in documents}
    assert kinds == {
        "ConfigMap", "Service", "StatefulSet", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy",
        "ExternalSecret",
    }  # fmt: skip
    pod = one(documents, "StatefulSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/readiness"
    assert pod["terminationGracePeriodSeconds"] > 60
    scaled = one(documents, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == ("StatefulSet", one(documents, "StatefulSet")["metadata"]["name"])
    assert one(documents, "ExternalSecret")["spec"]["target"]["name"] == container["envFrom"][0]["secretRef"]["name"]
    assert "replicas" not in one(documents, "StatefulSet")["spec"]  # else each upgrade undoes what was scaled
    assert one(rendered(CHART, SHAPES["everything off"]), "StatefulSet")["spec"]["replicas"] == 1


def test_selectors_find_the_pods(documents: list[dict[str, Any]]) -> None:
    template = one(documents, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    for each in documents:
        spec = each.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector")
        if selector is not None:
            assert (selector.get("matchLabels") or selector).items() <= template.items(), each["kind"]


def test_the_command_of_a_pod_is_one_that_the_program_takes(documents: list[dict[str, Any]]) -> None:
    (container,) = one(documents, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert callable(make_parser().parse_args(container["args"]).run)


def test_the_chart_s_configuration_is_good(documents: list[dict[str, Any]]) -> None:
    text = one(documents, "ConfigMap")["data"]["config.yaml"]
    settings = load_text(text, environ=VARIABLES)
    assert settings.warnings == ()
    assert settings.deployments


def test_renderer_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "chart")
    (tmp_path / "chart" / "templates" / "more.yaml").write_text("a: {{ .Values.workers | sha256sum }}\n")
    with pytest.raises(AssertionError, match="sha256sum"):
        rendered(tmp_path / "chart")


# --- compose ------------------------------------------------------------------------------------------------------

COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())


def test_compose_file_is_one_by_the_specification_s_schema() -> None:
    schema = json.loads(files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.Draft7Validator(schema).validate(COMPOSE)


def test_compose_services_wait_for_each_other_and_can_do_little() -> None:
    gateway = COMPOSE["services"]["gateway"]
    assert set(gateway["depends_on"]) == {"postgres", "valkey"}
    assert all("healthcheck" in COMPOSE["services"][name] for name in gateway["depends_on"])
    assert gateway["read_only"]
    assert gateway["cap_drop"] == ["ALL"]
    assert callable(make_parser().parse_args(gateway["command"]).run)
    assert "valkey" in gateway["build"]["args"]["EXTRAS"].split(",")  # the client for REDIS_URL is an extra
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose" / "compose.yaml").read_text()))
    told = set(re.findall(r"^(\w+)=", (DEPLOY / "compose" / "env.example").read_text(), re.MULTILINE))
    assert asked == told


def test_compose_configuration_is_good() -> None:
    settings = load_settings(DEPLOY / "compose" / "config.yaml", environ=VARIABLES)
    assert len(settings.deployments) == 3
    assert not [each for each in settings.warnings if "redis" not in each]


# --- systemd ------------------------------------------------------------------------------------------------------


class _Unit(configparser.RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr


def test_unit_starts_a_command_that_the_program_takes_and_is_shut_in() -> None:
    unit = _Unit(strict=False)
    unit.read_string((DEPLOY / "systemd" / "routewright.service").read_text())
    service = unit["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program.endswith("/routewright")
    assert callable(make_parser().parse_args(words).run)
    assert service["Type"] == "notify"
    drain_s = float(words[words.index("--drain-seconds") + 1])
    assert float(service["TimeoutStopSec"]) > drain_s
    assert service["NoNewPrivileges"] == service["DynamicUser"] == "yes"


def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: the unit is read by configparser alone")
    text = (DEPLOY / "systemd" / "routewright.service").read_text()
    (tmp_path / "routewright.service").write_text(text.replace("/opt/routewright/bin/routewright", sys.executable))
    command = ["systemd-analyze", "verify", str(tmp_path / "routewright.service")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not [line for line in done.stderr.splitlines() if "routewright.service" in line], done.stderr


# --- the image ----------------------------------------------------------------------------------------------------

DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text()


def copied() -> list[Path]:
    """What the first stage of the image is given of a checkout."""
    return [
        ROOT / name
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for name in line.split()[:-1]
    ]


def test_image_is_given_only_what_is_there_and_what_dockerignore_lets_through() -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for path in copied():
        assert path.exists(), path
        assert str(path.relative_to(ROOT)) in let_through


def test_image_runs_as_nobody_and_says_how_it_is() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last
    (command,) = re.findall(r"^CMD (\[.*\])$", last, re.MULTILINE)
    assert callable(make_parser().parse_args(json.loads(command)).run)


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
