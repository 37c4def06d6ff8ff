"""What people deploy by is what its readers take: schemas of Kubernetes and compose, a unit, an image's steps, and our
own configuration in each of them."""

from __future__ import annotations

import configparser
import json
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
        "serviceAccount": {"create": True, "name": "gateway", "annotations": {"eks.amazonaws.com/role-arn": "arn:x"}},
        "podLabels": {"azure.workload.identity/use": "true"}, "env": [{"name": "HTTPS_PROXY", "value": "http://p:1"}],
        "volumes": [{"name": "routers", "persistentVolumeClaim": {"claimName": "routers"}}],
        "volumeMounts": [{"name": "routers", "mountPath": "/var/lib/routewright/routers", "readOnly": True}],
        "networkPolicy": {
            "metadataService": True,
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
        },
    },
    "everything off": {
        "autoscaling": {"enabled": False}, "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False}, "replicaCount": 1,
    },
}  # fmt: skip


_NAME = {
    "type": "string",
    "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    "maxLength": 253,
}


def _only(needed: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(needed), "additionalProperties": False}


EXTERNAL_SECRET = _only(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "external-secrets.io/v1"},
    kind={"const": "ExternalSecret"},
    metadata={"type": "object", "required": ["name"]},
    spec=_only(
        refreshInterval={"type": "string"},
        refreshPolicy={"enum": ["CreatedOnce", "Periodic", "OnChange"]},
        secretStoreRef=_only(name=_NAME, kind={"enum": ["SecretStore", "ClusterSecretStore"]}),
        target=_only(
            name=_NAME,
            creationPolicy={"enum": ["Owner", "Orphan", "Merge", "None"]},
            deletionPolicy={"enum": ["Delete", "Merge", "Retain"]},
            immutable={"type": "boolean"},
            template={"type": "object"},
        ),
        data={"type": "array"},
        dataFrom={
            "type": "array",
            "items": _only(
                extract=_only(
                    ("key",), key={"type": "string"}, property={"type": "string"}, version={"type": "string"},
                    conversionStrategy={"enum": ["Default", "Unicode"]}, metadataPolicy={"enum": ["None", "Fetch"]},
                    decodingStrategy={"enum": ["Auto", "Base64", "Base64URL", "None"]},
                ),
                find={"type": "object"}, rewrite={"type": "array"}, sourceRef={"type": "object"},
            ),
        },
    ),
)  # fmt: skip
"""What External Secrets' own definition of version v1 says of the fields that a chart may use, unknown ones refused."""


@pytest.fixture(params=SHAPES, ids=lambda name: name.replace(" ", "-"))
def documents(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return rendered(CHART, SHAPES[request.param])


def one(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [each for each in documents if each["kind"] == kind]
    return found


def validate(document: dict[str, Any], version: str) -> None:
    """By Kubernetes' own schema of this version; a resource of another operator's by that one's rules."""
    if document["apiVersion"].startswith("external-secrets.io/"):
        jsonschema.Draft7Validator(EXTERNAL_SECRET).validate(document)
    else:
        kubernetes_validate.validate(document, version, strict=True)


def test_kubernetes_takes_every_document_of_the_chart(documents: list[dict[str, Any]]) -> None:
    """By Kubernetes' own schemas, strictly: an unknown field is a fault. The templates are rendered by the tests' own
    small renderer; `test_helm.py` compares it with Helm."""
    for each in documents:
        validate(each, KUBERNETES)
    assert len({(each["kind"], each["metadata"]["name"]) for each in documents}) == len(documents)


def test_chart_has_what_operations_want() -> None:
    documents = rendered(CHART, SHAPES["everything on"])
    kinds = {each["kind"] for each in documents}
    assert kinds == {
        "ConfigMap", "Service", "StatefulSet", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy",
        "ExternalSecret", "ServiceAccount",
    }  # fmt: skip
    pod = one(documents, "StatefulSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/readiness"
    words = container["args"]
    drain_s = int(words[words.index("--drain-seconds") + 1])
    assert drain_s >= 600, "OpenAI's clients wait ten minutes for a stream"
    assert pod["terminationGracePeriodSeconds"] >= drain_s + int(
        container["lifecycle"]["preStop"]["exec"]["command"][1]
    )
    assert pod["serviceAccountName"] == one(documents, "ServiceAccount")["metadata"]["name"]
    assert one(documents, "PodDisruptionBudget")["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    scaled = one(documents, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == ("StatefulSet", one(documents, "StatefulSet")["metadata"]["name"])
    assert one(documents, "ExternalSecret")["spec"]["target"]["name"] == container["envFrom"][0]["secretRef"]["name"]
    assert "replicas" not in one(documents, "StatefulSet")["spec"]  # else each upgrade undoes what was scaled
    assert one(rendered(CHART, SHAPES["everything off"]), "StatefulSet")["spec"]["replicas"] == 1


def test_nobody_reaches_the_metadata_service_unless_it_is_asked_for() -> None:
    def blocked(shape: str) -> list[str]:
        egress = one(rendered(CHART, SHAPES[shape]), "NetworkPolicy")["spec"]["egress"]
        (block,) = [
            to["ipBlock"] for rule in egress for to in rule.get("to", ()) if to["ipBlock"]["cidr"] == "0.0.0.0/0"
        ]
        return list(block.get("except", ()))

    assert blocked("as it is") == ["169.254.0.0/16"]
    assert blocked("everything on") == []
    (rule,) = one(rendered(CHART, SHAPES["everything on"]), "NetworkPolicy")["spec"]["ingress"]
    assert "ingress" in json.dumps(rule["from"])


# --- the chart's values -------------------------------------------------------------------------------------------

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def test_values_are_what_their_schema_says_each_is_told_of_and_each_has_a_use() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    for values in (VALUES, *SHAPES.values()):
        jsonschema.Draft7Validator(SCHEMA).validate(values)

    def names(told: dict[str, Any], schema: dict[str, Any]) -> set[tuple[str, ...]]:
        assert told.keys() == schema.get("properties", told).keys() - {"global"}
        nested = {name: part for name, part in schema.get("properties", {}).items() if part.get("properties")}
        return {
            (name, *rest) for name in told for rest in (names(told[name], nested[name]) if name in nested else [()])
        }

    told = {".".join(each) for each in names(VALUES, SCHEMA)}
    used = set(re.findall(r"\.Values\.([\w.]+)", "".join(p.read_text() for p in (CHART / "templates").iterdir())))
    assert told == used


@pytest.mark.parametrize(
    "wrong",
    [
        {"autscaling": {}}, {"autoscaling": {"enable": True}}, {"workers": 0}, {"drainSeconds": "1m"},
        {"serviceAccount": {"create": True, "name": ""}}, {"externalSecret": {"storeKind": "Vault"}},
        {"persistence": {"size": "5 GB"}}, {"config": {}}, {"podAnnotations": {"a": 1}},
    ],
    ids=str,
)  # fmt: skip
def test_value_that_is_wrong_or_misspelt_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(SCHEMA).validate(wrong)


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
