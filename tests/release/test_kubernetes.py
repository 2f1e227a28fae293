"""The manifests for Kubernetes fit each other, KubeRay's types and this project's settings. No cluster is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ray_pool import QUICKER
from server.replicas.ray_cluster import CONFIG, INLINE_BYTES, SETTINGS
from server.settings import Settings, read_settings
from tests.running import ROOT

yaml = pytest.importorskip("yaml")

FOLDER = ROOT / "docs" / "kubernetes"
KINDS = {
    "ConfigMap": "v1",
    "Service": "v1",
    "PersistentVolumeClaim": "v1",
    "Deployment": "apps/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "RayCluster": "ray.io/v1",
}
# From ray-operator/apis/ray/v1/raycluster_types.go of ray-project/kuberay: what may be there, and what has to be.
CLUSTER = {"rayVersion", "headGroupSpec", "workerGroupSpecs", "autoscalerOptions", "enableInTreeAutoscaling"}
CLUSTER |= {"headServiceAnnotations", "gcsFaultToleranceOptions", "suspend", "managedBy"}
HEAD = {"template", "headService", "enableIngress", "rayStartParams", "serviceType"}
WORKERS = {"groupName", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds", "rayStartParams", "template"}
WORKERS |= {"scaleStrategy", "numOfHosts", "suspend"}
TOKEN = {
    "name": "RAY_AUTH_TOKEN",
    "valueFrom": {"secretKeyRef": {"name": "defectvision-ray-token", "key": "auth_token"}},
}


def documents() -> Iterator[dict[str, Any]]:
    for path in sorted(FOLDER.glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text())


def one(kind: str, name: str) -> dict[str, Any]:
    (found,) = [made for made in documents() if (made["kind"], made["metadata"]["name"]) == (kind, name)]
    return found


def pods() -> dict[str, dict[str, Any]]:
    """Templates of all pods, by what they are."""
    spec = one("RayCluster", "defectvision")["spec"]
    gateway = one("Deployment", "defectvision")["spec"]["template"]
    (workers,) = spec["workerGroupSpecs"]
    return {"head": spec["headGroupSpec"]["template"], "workers": workers["template"], "gateway": gateway}


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["spec"]["containers"]
    return dict(found)


def values(container: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


def test_each_is_a_known_kind_with_a_name_of_its_own() -> None:
    made = [*documents()]
    assert all(KINDS[each["kind"]] == each["apiVersion"] for each in made)
    names = [(each["kind"], each["metadata"]["name"]) for each in made]
    assert len({*names}) == len(names) == 7


def test_the_cluster_says_nothing_that_kuberay_does_not_know_and_all_that_it_asks() -> None:
    spec = one("RayCluster", "defectvision")["spec"]
    assert set(spec) <= CLUSTER
    assert {"template", "rayStartParams"} <= set(spec["headGroupSpec"]) <= HEAD
    for group in spec["workerGroupSpecs"]:
        assert {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"} <= set(group) <= WORKERS
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for params in (spec["headGroupSpec"]["rayStartParams"], spec["workerGroupSpecs"][0]["rayStartParams"]):
        assert all(isinstance(value, str) for value in params.values()), "a map of strings"


def test_all_pods_run_the_same_image_with_the_same_settings_and_secret() -> None:
    containers = [container(pod) for pod in pods().values()]
    assert len({each["image"] for each in containers}) == 1
    for each in containers:
        assert each["envFrom"] == [{"configMapRef": {"name": "defectvision-ray"}}] and TOKEN in each["env"]
        assert {mount["mountPath"] for mount in each["volumeMounts"]} >= {"/tmp", "/dev/shm"}
        assert each["resources"]["requests"] and each["resources"]["limits"]


def test_they_are_set_as_the_program_sets_a_cluster_of_its_own() -> None:
    told = one("ConfigMap", "defectvision-ray")["data"]
    assert all(isinstance(value, str) for value in told.values())
    assert SETTINGS.items() <= told.items() and told["RAY_AUTH_MODE"] == "token"
    assert told["RAY_USAGE_STATS_REPORT_URL"].startswith("http://127.0.0.1:")
    assert told["RAY_max_direct_call_object_size"] == str(INLINE_BYTES)
    assert CONFIG["prestart_worker_first_driver"] is False and told["RAY_prestart_worker_first_driver"] == "0"
    for name, value in QUICKER.items():
        assert told[f"RAY_{name}"] == str(value), "what the benchmark was run with"


def test_the_gateway_joins_that_cluster_and_its_settings_are_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, cluster = container(pods()["gateway"]), one("RayCluster", "defectvision")
    told = values(gateway)
    known = {field.name.upper() for field in fields(Settings)}
    assert set(told) <= known, set(told) - known
    monkeypatch.chdir(tmp_path)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    settings = read_settings()
    assert settings.pool == "ray"
    assert settings.ray_address == f"{cluster['metadata']['name']}-head-svc:6379", "as KubeRay calls the head's service"
    room = int(cluster["spec"]["workerGroupSpecs"][0]["rayStartParams"]["num-cpus"]) / settings.ray_cpus
    machines = cluster["spec"]["workerGroupSpecs"][0]["replicas"]
    assert settings.ray_replicas[1] == room * (machines - 1), "one machine may die"
    assert "--num-cpus=0" in gateway["command"][-1] and "exec defectvision serve" in gateway["command"][-1]


def test_ports_and_probes_are_those_that_are_listened_on() -> None:
    gateway = container(pods()["gateway"])
    ports = {port["name"]: port["containerPort"] for port in gateway["ports"]}
    assert ports == {"http": Settings().port}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert gateway[probe]["tcpSocket"]["port"] in ports
    (port,) = one("Service", "defectvision")["spec"]["ports"]
    assert port["targetPort"] in ports
    for name in ("head", "workers"):
        asked = container(pods()[name])["readinessProbe"]["exec"]["command"][-1]
        assert ":52365/api/local_raylet_healthz" in asked
        compile(asked, "probe", "exec")


def test_nobody_is_root_and_nothing_is_written_but_to_volumes() -> None:
    for pod in pods().values():
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["automountServiceAccountToken"] is False
        may = container(pod)["securityContext"]
        assert may["readOnlyRootFilesystem"] and not may["allowPrivilegeEscalation"]
        assert may["capabilities"] == {"drop": ["ALL"]}
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        assert {mount["name"] for mount in container(pod)["volumeMounts"]} <= volumes


def test_rays_ports_are_reached_from_these_pods_alone() -> None:
    ray, gateway = (one("NetworkPolicy", f"defectvision-{name}")["spec"] for name in ("ray", "gateway"))
    mark = ray["podSelector"]["matchLabels"]
    assert all(mark.items() <= pod["metadata"]["labels"].items() for pod in pods().values())
    assert ray["ingress"] == [{"from": [{"podSelector": {"matchLabels": mark}}]}]
    labels = pods()["gateway"]["metadata"]["labels"]
    for selector in (gateway["podSelector"]["matchLabels"], one("Service", "defectvision")["spec"]["selector"]):
        assert selector.items() <= labels.items()
    (door,) = gateway["ingress"]
    assert [port["port"] for port in door["ports"]] == ["http"]
    assert one("Deployment", "defectvision")["spec"]["selector"]["matchLabels"].items() <= labels.items()
