"""The manifests for Kubernetes: of the form that KubeRay's and Kubernetes' schemas ask for, and true to the code.

KUBERAY_CRDS names the folder of KubeRay's own schemas (`helm-chart/kuberay-operator/crds` in its repository).
"""

import copy
import inspect
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from ray._common.utils import import_attr

import scenerec
from cluster import serve_proxy
from scenerec.config.serve import ServeConfig
from scenerec.config.train import TrainConfig
from serve.app import grpc_options
from tests.patience import PATIENCE_S

ROOT = Path(scenerec.__file__).parents[1]
FOLDER = ROOT / "cluster/kuberay"
BUILDS = ("cluster", "overlays/dev", "overlays/gpu", "overlays/spot", "job", "serving", "queue")
CRDS = os.environ.get("KUBERAY_CRDS")

needs_kubectl = pytest.mark.skipif(not shutil.which("kubectl"), reason="needs kubectl, which has kustomize built in")
needs_crds = pytest.mark.skipif(not CRDS, reason="needs KubeRay's schemas: KUBERAY_CRDS names their folder")


@cache
def built(folder: str) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would send."""
    done = subprocess.run(["kubectl", "kustomize", FOLDER / folder], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def the(kind: str, folder: str) -> dict[str, Any]:
    (found,) = (each for each in built(folder) if each["kind"] == kind)
    return found


@cache
def custom_schema(kind: str) -> dict[str, Any]:
    text = (Path(str(CRDS)) / f"ray.io_{kind.lower()}s.yaml").read_text()
    definition = yaml.load(text, yaml.CSafeLoader)  # a megabyte, for which Python's own loader takes seconds
    (version,) = (each for each in definition["spec"]["versions"] if each["name"] == "v1")
    return version["schema"]["openAPIV3Schema"]


@cache
def schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind, closed: Kubernetes prunes fields that it does not know, and here they are errors."""
    if kind.startswith("Ray"):
        found = custom_schema(kind)
    else:
        kinds = yaml.safe_load((Path(__file__).parent / "kubernetes_kinds.yaml").read_text())
        if kind == "StatefulSet":
            head = custom_schema("RayCluster")["properties"]["spec"]["properties"]["headGroupSpec"]
            kinds[kind]["spec"]["properties"]["template"] = head["properties"]["template"]
        found = {"type": "object", "properties": {**kinds[kind], "apiVersion": {"type": "string"}}}
    close(found)
    found["properties"] |= {"kind": {"const": kind}, "metadata": METADATA}
    return found


STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
METADATA = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9-]{1,47}$"},
        "namespace": {"const": "scenerec"},
        "labels": STRINGS,
        "annotations": STRINGS,
    },
}


def close(schema: dict[str, Any]) -> None:
    """Lets it refuse unknown fields, and understand Kubernetes' numbers that may be texts (`cpu: "2"`)."""
    if schema.pop("x-kubernetes-int-or-string", False):
        schema.pop("type", None)
        schema["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    for value in schema.get("properties", {}).values():
        if value == METADATA_OF_A_POD:
            value |= {"properties": {"labels": STRINGS, "annotations": STRINGS}}
        close(value)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            close(schema[key])


METADATA_OF_A_POD = {"type": "object"}
"""KubeRay's schemas say no more of it."""


def problems(document: dict[str, Any]) -> list[str]:
    found = jsonschema.Draft7Validator(schema(document["kind"])).iter_errors(document)
    return [f"{document['kind']} {'.'.join(map(str, each.absolute_path))}: {each.message}" for each in found]


@needs_crds
@needs_kubectl
@pytest.mark.parametrize("folder", BUILDS)
def test_it_is_of_the_form_that_the_schemas_ask_for(folder: str) -> None:
    assert [problem for document in built(folder) for problem in problems(document)] == []


@needs_crds
@needs_kubectl
@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("headGroupSpec", "templat"), {}, "'templat' was unexpected"),
        (("workerGroupSpecs", 0, "maxReplicas"), "four", "is not of type 'integer'"),
        (("headGroupSpec", "template", "spec", "containers", 0, "envfrom"), [], "'envfrom' was unexpected"),
        (("headGroupSpec", "template", "metadata", "lables"), {}, "'lables' was unexpected"),
        (("authOptions", "mode"), "tokens", "is not one of"),
    ],
)
def test_a_slip_is_noticed(path: tuple[str | int, ...], value: Any, said: str) -> None:
    document = copy.deepcopy(the("RayCluster", "cluster"))
    parent = document["spec"]
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    assert any(said in problem for problem in problems(document))


def pods(folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, template) of each pod that what is built would start."""

    def find(place: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(value, dict):
            if "containers" in value.get("spec", {}):
                yield place, value
            for key, inner in value.items():
                yield from find(f"{place}.{key}", inner)
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                yield from find(f"{place}.{number}", inner)

    for document in built(folder):
        yield from find(document["kind"], document)


@needs_kubectl
@pytest.mark.parametrize("folder", BUILDS[:-1])
def test_every_pod_is_modest_and_named_for_the_network_policies(folder: str) -> None:
    """As the namespace's policy `restricted` wants it: else Kubernetes would refuse the pods, and not the manifest."""
    found = dict(pods(folder))
    assert found
    for place, pod in found.items():
        assert pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == "scenerec", place
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] and security["seccompProfile"]["type"] == "RuntimeDefault", place
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["capabilities"]["drop"] == ["ALL"], place
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, place
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, place
            assert "memory" in container["resources"]["limits"], place


@needs_kubectl
@pytest.mark.parametrize("folder", BUILDS[:-1])
def test_what_pods_refer_to_is_there(folder: str) -> None:
    """But for secrets, which nobody writes into a file."""
    there = {(document["kind"], document["metadata"]["name"]) for document in built(folder)}
    for place, pod in pods(folder):
        spec = pod["spec"]
        if account := spec.get("serviceAccountName"):
            assert ("ServiceAccount", account) in there, place
        if priority := spec.get("priorityClassName"):
            assert ("PriorityClass", priority) in there, place
        maps = [each["configMap"]["name"] for each in spec.get("volumes", []) if "configMap" in each]
        maps += [
            source["configMapRef"]["name"]
            for container in spec["containers"]
            for source in container.get("envFrom", [])
            if "configMapRef" in source
        ]
        assert {("ConfigMap", name) for name in maps} <= there, place
    assert not any(kind == "Secret" for kind, _ in there)


@needs_kubectl
@pytest.mark.parametrize(("folder", "kind"), [("cluster", "RayCluster"), ("serving", "RayService")])
def test_the_head_runs_no_work_and_versions_are_those_of_the_code(folder: str, kind: str) -> None:
    spec = the(kind, folder)["spec"]
    spec = spec.get("rayClusterConfig", spec)
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert spec["rayVersion"] == ray.__version__
    assert f"ray=={ray.__version__}" in (ROOT / "constraints.txt").read_text().splitlines()
    images = {container["image"] for _, pod in pods(folder) for container in pod["spec"]["containers"]}
    ours = {image for image in images if image.startswith("scenerec")}
    assert len(ours) == 1 and all(image.endswith(f":{scenerec.__version__}") for image in ours)


@needs_kubectl
def test_an_overlay_changes_the_groups_that_it_means() -> None:
    def groups(folder: str) -> dict[str, dict[str, Any]]:
        return {group["groupName"]: group for group in the("RayCluster", folder)["spec"]["workerGroupSpecs"]}

    assert groups("cluster").keys() == groups("overlays/gpu").keys() == groups("overlays/spot").keys() == {"cpu", "gpu"}
    assert groups("overlays/dev").keys() == {"cpu"}
    assert "nvidia.com/gpu.product" in groups("overlays/gpu")["gpu"]["template"]["spec"]["nodeSelector"]
    spot = groups("overlays/spot")["gpu"]["template"]["spec"]
    assert spot["nodeSelector"]["karpenter.sh/capacity-type"] == "spot" and len(spot["tolerations"]) == 2
    assert "nodeSelector" not in groups("overlays/spot")["cpu"]["template"]["spec"]


@needs_kubectl
def test_the_job_brings_a_cluster_that_its_run_fits_on() -> None:
    """As many GPUs as the file's workers ask for, all from the start: Kueue lets no autoscaler in."""
    job = the("RayJob", "job")["spec"]
    (configuration,) = (
        each for each in built("job") if each["kind"] == "ConfigMap" and each["metadata"]["name"] == "scenerec-train"
    )
    scale = TrainConfig.model_validate(yaml.safe_load(configuration["data"]["train.yaml"])).scale
    (group,) = job["rayClusterSpec"]["workerGroupSpecs"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert isinstance(scale.workers, int)
    assert group["minReplicas"] == group["replicas"] == group["maxReplicas"]
    assert group["replicas"] * int(limits["nvidia.com/gpu"]) == scale.workers * scale.gpus_per_worker
    assert group["replicas"] * int(limits["cpu"]) >= scale.workers * scale.cpus_per_worker
    assert job["rayClusterSpec"]["enableInTreeAutoscaling"] is False
    assert "RayCluster" not in {document["kind"] for document in built("job")}


@needs_kubectl
def test_a_job_names_a_queue_and_a_priority_that_there_are() -> None:
    labels = the("RayJob", "job")["metadata"]["labels"]
    names = {(document["kind"], document["metadata"]["name"]) for document in built("queue")}
    assert ("LocalQueue", labels["kueue.x-k8s.io/queue-name"]) in names
    assert ("WorkloadPriorityClass", labels["kueue.x-k8s.io/priority-class"]) in names
    flavors = {
        flavor["name"]
        for group in the("ClusterQueue", "queue")["spec"]["resourceGroups"]
        for flavor in group["flavors"]
    }
    assert flavors == {name for kind, name in names if kind == "ResourceFlavor"}


def test_the_nodes_have_the_variables_of_the_code() -> None:
    """HAProxy's threads too, which the code counts by the machine's cores, four at most."""
    lines = (FOLDER / "common/node.env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    folder = Path("/home/ray/proxy")  # the images': cluster/images
    expected = serve_proxy.environment(folder, launcher=str(folder / "haproxy"))
    threads = {"RAY_SERVE_HAPROXY_NBTHREAD": "4"}
    assert variables == {**expected, **threads, "RAY_USAGE_STATS_ENABLED": "0"}
    assert len(str(folder)) <= serve_proxy.LONGEST_FOLDER


def served() -> dict[str, Any]:
    service = yaml.safe_load((FOLDER / "serving/rayservice.yaml").read_text())
    return yaml.safe_load(service["spec"]["serveConfigV2"])


def test_the_service_deploys_what_scenerec_deploys() -> None:
    (application,) = served()["applications"]
    config = ServeConfig.model_validate(application["args"])
    builder = import_attr(application["import_path"])
    assert len(inspect.signature(builder).parameters) == 1
    assert (config.name, config.http.route_prefix) == (application["name"], application["route_prefix"])
    assert config.http.port == served()["http_options"]["port"]
    assert config.http.grpc_port == served()["grpc_options"]["port"]
    options = grpc_options(config)
    assert options and options.grpc_servicer_functions == served()["grpc_options"]["grpc_servicer_functions"]


@needs_kubectl
def test_every_port_that_is_served_comes_through_and_none_else() -> None:
    """KubeRay's service has the ports of the head that are named serve...; the network policy lets them through."""
    ports = {served()["http_options"]["port"], served()["grpc_options"]["port"]}
    (policy,) = (each for each in built("serving") if each["metadata"]["name"] == "scenerec-endpoint")
    (rule,) = policy["spec"]["ingress"]
    assert {each["port"] for each in rule["ports"]} == ports
    for place, pod in pods("serving"):
        if place.startswith("RayService"):
            named = pod["spec"]["containers"][0]["ports"]
            assert {each["containerPort"] for each in named if each["name"].startswith("serve")} == ports, place
