"""Manifests that Helm renders from the chart."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import build
from tests.cluster.prerequisites import run

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts/taskqueue-operator"
IMAGE = "image.repository=example.org/taskqueue-operator"
NAME = "release-taskqueue-operator"
PERMISSIONS = {
    ("taskqueue.dev", "taskqueues"): {"list", "watch", "patch"},
    ("taskqueue.dev", "taskqueues/status"): {"patch"},
    ("taskqueue.dev", "taskqueues/finalizers"): {"update"},
    ("autoscaling", "horizontalpodautoscalers"): {"list"},
    ("apps", "deployments"): {"get", "list", "watch", "create", "patch"},
    ("", "pods"): {"list", "watch"},
    ("", "pods/status"): {"patch"},
    ("", "secrets"): {"get"},
    ("", "events"): {"create"},
}


def helm(*arguments: str) -> str:
    return run(shutil.which("helm") or str(build.kubernetes() / "helm"), *arguments)


def render(*values: str, namespace: str = "system") -> list[dict[str, Any]]:
    settings = [
        argument for value in (IMAGE, *values) for argument in ("--set-json" if "=[" in value else "--set", value)
    ]
    text = helm("template", "release", str(CHART), "--namespace", namespace, *settings)
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(kind: str, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


def pod(*values: str) -> dict[str, Any]:
    (deployment,) = of_kind("Deployment", render(*values))
    template: dict[str, Any] = deployment["spec"]["template"]
    return template


def permissions(role: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    return {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_the_chart_passes_lint() -> None:
    helm("lint", "--strict", str(CHART), "--set", IMAGE)


def test_the_error_without_an_image_names_the_value_to_set() -> None:
    with pytest.raises(RuntimeError, match=r"Set it: --set image\.repository="):
        helm("template", "release", str(CHART))


@pytest.mark.parametrize(
    "value",
    [
        "replicas=-1",
        "replicas=two",
        "image.name=other",
        "image.pullPolicy=Sometimes",
        "image.digest=0123",
        "crds.keep=maybe",
        "namespaces=media",
        'namespaces=["Media"]',
        'namespaces=["media","media"]',
        "logLevel=loud",
        "installation=a/b",
        "podAnnotations=[]",
        "workers.podSecurity=restricted",
        'workers.serviceAccounts=["Not A Name"]',
        'brokers.hosts=["amqp://broker"]',
    ],
)
def test_an_invalid_value_is_rejected(value: str) -> None:
    with pytest.raises(RuntimeError, match="meet the specifications of the schema"):
        render(value)


def test_the_schema_covers_exactly_the_values() -> None:
    def keys(schema: dict[str, Any]) -> set[str]:
        return set(schema.get("properties", {})) - {"global"}

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert keys(schema) == set(values)
    for name in ("image", "crds", "resources", "service", "brokers", "workers"):
        assert keys(schema["properties"][name]) == set(values[name]), name
        assert schema["properties"][name]["additionalProperties"] is False, name


def test_the_notes_delete_only_the_taskqueues_that_the_release_watches() -> None:
    def deletions(*values: str) -> list[str]:
        settings = [
            argument for value in (IMAGE, *values) for argument in ("--set-json" if "[" in value else "--set", value)
        ]
        notes = helm("install", "release", str(CHART), "--dry-run=client", "--hide-notes=false", *settings).split(
            "NOTES:"
        )[1]
        return [line.strip() for line in notes.splitlines() if "delete taskqueues" in line]

    assert deletions() == ["kubectl delete taskqueues --all --all-namespaces"]
    assert deletions('namespaces=["media","billing"]') == [
        "kubectl -n media delete taskqueues --all",
        "kubectl -n billing delete taskqueues --all",
    ]


def test_the_chart_installs_the_generated_crd_and_keeps_it() -> None:
    (crd,) = of_kind("CustomResourceDefinition", render())
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    expected = yaml.safe_load((ROOT / "crds/taskqueues.yaml").read_text())
    assert crd["metadata"]["name"] == expected["metadata"]["name"]
    assert crd["spec"] == expected["spec"]


def test_the_crd_is_optional_and_keeping_it_is_too() -> None:
    (crd,) = of_kind("CustomResourceDefinition", render("crds.keep=false"))
    assert "annotations" not in crd["metadata"]
    assert not of_kind("CustomResourceDefinition", render("crds.install=false"))


def test_the_operator_has_exactly_these_permissions() -> None:
    documents = render("aggregateRoles=false")
    (role,) = of_kind("ClusterRole", documents)
    (binding,) = of_kind("ClusterRoleBinding", documents)
    assert permissions(role) == PERMISSIONS
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "release-taskqueue-operator", "namespace": "system"}
    ]
    assert {role["metadata"]["name"] for role in of_kind("Role", documents)} == {f"{NAME}-lease"}


def test_with_namespaces_the_permissions_are_limited_to_them() -> None:
    documents = render('namespaces=["media","billing"]', "aggregateRoles=false")
    assert not of_kind("ClusterRole", documents)
    assert not of_kind("ClusterRoleBinding", documents)
    roles = {
        role["metadata"]["namespace"]: permissions(role) for role in of_kind("Role", documents) if not of_lease(role)
    }
    assert roles == {"media": PERMISSIONS, "billing": PERMISSIONS}
    bindings = [binding for binding in of_kind("RoleBinding", documents) if not of_lease(binding)]
    assert {binding["metadata"]["namespace"] for binding in bindings} == {"media", "billing"}
    assert {subject["namespace"] for binding in bindings for subject in binding["subjects"]} == {"system"}


def of_lease(document: dict[str, Any]) -> bool:
    name: str = document["metadata"]["name"]
    return name == f"{NAME}-lease"


@pytest.mark.parametrize("namespaces", ["[]", '["media","system"]'])
def test_the_operator_may_write_only_the_lease_of_the_release(namespaces: str) -> None:
    documents = render(f"namespaces={namespaces}")
    (role,) = filter(of_lease, of_kind("Role", documents))
    (binding,) = filter(of_lease, of_kind("RoleBinding", documents))
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    assert role["rules"] == [
        leases | {"resourceNames": [NAME], "verbs": ["get", "patch"]},
        leases | {"verbs": ["create"]},
    ]
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "system"
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": "system"}]


def test_releases_of_the_same_name_in_two_namespaces_have_different_cluster_roles() -> None:
    def names(namespace: str) -> set[str]:
        clusterwide = ("ClusterRole", "ClusterRoleBinding")
        documents = render(namespace=namespace)
        return {document["metadata"]["name"] for document in documents if document["kind"] in clusterwide}

    assert names("one")
    assert not names("one") & names("two")


def test_the_built_in_roles_are_extended_by_taskqueues() -> None:
    roles = [
        role for role in of_kind("ClusterRole", render()) if role["metadata"]["name"].endswith(("viewer", "editor"))
    ]
    granted = {
        label.removeprefix("rbac.authorization.k8s.io/"): permissions(role)[("taskqueue.dev", "taskqueues")]
        for role in roles
        for label in role["metadata"]["labels"]
        if label.startswith("rbac.authorization.k8s.io/")
    }
    assert granted == {
        "aggregate-to-view": {"get", "list", "watch"},
        "aggregate-to-edit": {"create", "update", "patch", "delete", "deletecollection"},
    }
    assert len(of_kind("ClusterRole", render("aggregateRoles=false"))) == 1


def test_a_single_replica_has_no_disruption_budget_and_no_spread_constraint() -> None:
    documents = render()
    (deployment,) = of_kind("Deployment", documents)
    assert deployment["spec"]["replicas"] == 1
    assert "topologySpreadConstraints" not in deployment["spec"]["template"]["spec"]
    assert not of_kind("PodDisruptionBudget", documents)


def test_two_replicas_run_on_different_nodes_and_have_a_disruption_budget() -> None:
    documents = render("replicas=2")
    (deployment,) = of_kind("Deployment", documents)
    (budget,) = of_kind("PodDisruptionBudget", documents)
    (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert deployment["spec"]["replicas"] == 2
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
    assert budget["spec"]["maxUnavailable"] == 1
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (spread["labelSelector"], budget["spec"]["selector"]):
        assert selector["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_rollout_starts_the_new_pod_before_it_stops_the_old_one(replicas: int) -> None:
    (deployment,) = of_kind("Deployment", render(f"replicas={replicas}"))
    rolling = {"maxSurge": 1, "maxUnavailable": 0}
    assert deployment["spec"]["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}


def test_values_become_environment_variables_of_the_operator() -> None:
    template = pod(
        "installation=blue",
        'namespaces=["a","b"]',
        "logLevel=debug",
        'brokers.hosts=["*.example.com","10.0.0.0/8"]',
        'workers.serviceAccounts=["mail","web"]',
    )
    (container,) = template["spec"]["containers"]
    assert {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable} == {
        "TASKQUEUE_INSTALLATION": "blue",
        "TASKQUEUE_NAMESPACES": "a,b",
        "TASKQUEUE_HTTP_PORT": "8080",
        "TASKQUEUE_LOG_LEVEL": "debug",
        "TASKQUEUE_LEASE": f"system/{NAME}",
        "TASKQUEUE_BROKER_HOSTS": "*.example.com,10.0.0.0/8",
        "TASKQUEUE_POD_SECURITY": "baseline",
        "TASKQUEUE_SERVICE_ACCOUNTS": "mail,web",
        "TASKQUEUE_IDENTITY": "$(POD_NAME)_$(POD_UID)",
    }


def test_each_pod_has_its_own_identity() -> None:
    (container,) = pod()["spec"]["containers"]
    names = [variable["name"] for variable in container["env"]]
    fields = {
        variable["name"]: variable["valueFrom"]["fieldRef"]["fieldPath"]
        for variable in container["env"]
        if "valueFrom" in variable
    }
    assert fields == {"POD_NAME": "metadata.name", "POD_UID": "metadata.uid"}
    # A variable can refer only to variables before it.
    assert names[-1] == "TASKQUEUE_IDENTITY"


def test_a_digest_overrides_the_tag_and_the_tag_overrides_the_version() -> None:
    def image(*values: str) -> str:
        reference: str = pod(*values)["spec"]["containers"][0]["image"]
        return reference

    digest = "sha256:" + "0" * 64
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert image() == f"example.org/taskqueue-operator:{version}"
    assert image("image.tag=2.0") == "example.org/taskqueue-operator:2.0"
    assert image("image.tag=2.0", f"image.digest={digest}") == f"example.org/taskqueue-operator@{digest}"


def test_values_for_the_placement_and_metadata_of_the_pod_are_applied() -> None:
    template = pod(
        "podAnnotations.note=here",
        "podLabels.team=platform",
        "nodeSelector.disk=ssd",
        'tolerations=[{"operator":"Exists"}]',
        "affinity.podAntiAffinity.x=y",
        "priorityClassName=high",
        'imagePullSecrets=[{"name":"ghcr"}]',
        "resources.requests.cpu=1",
        "resources.limits.memory=1Gi",
    )
    assert template["metadata"]["annotations"] == {"note": "here"}
    assert template["metadata"]["labels"]["team"] == "platform"
    assert template["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert template["spec"]["tolerations"] == [{"operator": "Exists"}]
    assert template["spec"]["affinity"] == {"podAntiAffinity": {"x": "y"}}
    assert template["spec"]["priorityClassName"] == "high"
    assert template["spec"]["imagePullSecrets"] == [{"name": "ghcr"}]
    assert template["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": 1, "memory": "128Mi"},
        "limits": {"memory": "1Gi"},
    }


def test_the_service_selects_the_pod() -> None:
    documents = render("service.annotations.team=platform")
    (service,) = of_kind("Service", documents)
    (deployment,) = of_kind("Deployment", documents)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert (
        service["spec"]["ports"][0]["targetPort"]
        == deployment["spec"]["template"]["spec"]["containers"][0]["ports"][0]["name"]
    )
    assert service["metadata"]["annotations"] == {"team": "platform"}


def test_names_can_be_overridden() -> None:
    (deployment,) = of_kind("Deployment", render("fullnameOverride=scaler"))
    assert deployment["metadata"]["name"] == "scaler"
    (deployment,) = of_kind("Deployment", render("nameOverride=queues"))
    assert deployment["metadata"]["name"] == "release-queues"
