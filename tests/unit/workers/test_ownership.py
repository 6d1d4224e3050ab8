"""Which fields of a manifest are still the operator's. The trees are those that a real API server returns."""

import json
from typing import Any

from taskqueue_operator.workers.ownership import field_owners, lost_fields

MANIFEST = {
    "metadata": {"name": "a", "labels": {"l": "1"}, "annotations": {"x/y": "1"}, "ownerReferences": [{"uid": "u"}]},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"l": "1"}},
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "worker",
                        "image": "a:1",
                        "args": ["run"],
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                        "ports": [{"containerPort": 8080}],
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
                "nodeSelector": None,
            }
        },
    },
}


def container(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
    tree: dict[str, Any] = {
        ".": {},
        "f:name": {},
        "f:image": {},
        "f:args": {},
        "f:env": {
            'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}},
            'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}},
        },
        "f:ports": {'k:{"containerPort":8080,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
    }
    return {name: node for name, node in (tree | changes).items() if node is not None}


def owned(container: dict[str, Any] | None, **spec: Any) -> dict[str, Any]:  # noqa: ANN401  JSON
    containers = {} if container is None else {"f:containers": {'k:{"name":"worker"}': container}}
    volumes: dict[str, Any] = {"f:volumes": {'k:{"name":"tmp"}': {".": {}, "f:name": {}, "f:emptyDir": {}}}}
    return {
        "f:metadata": {"f:labels": {"f:l": {}}, "f:annotations": {"f:x/y": {}}, "f:ownerReferences": {}},
        "f:spec": {"f:selector": {}, "f:template": {"f:spec": containers | volumes}} | spec,
    }


def lost(fields: dict[str, Any], *others: tuple[str, dict[str, Any]]) -> dict[str, str]:
    entries = [{"manager": "taskqueue-operator", "operation": "Apply", "fieldsV1": fields}]
    entries += [{"manager": name, "operation": "Update", "fieldsV1": tree} for name, tree in others]
    return lost_fields(MANIFEST, field_owners({"managedFields": entries}))


IMAGE = ".spec.template.spec.containers[worker].image"


def test_nothing_is_lost_right_after_an_apply() -> None:
    assert lost(owned(container())) == {}


def test_a_changed_field_is_lost_to_its_new_manager() -> None:
    changed: dict[str, Any] = {
        "f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"worker"}': {"f:image": {}}}}}}
    }
    assert lost(owned(container(**{"f:image": None})), ("kubectl-set", changed)) == {IMAGE: "kubectl-set"}


def test_a_removed_element_is_lost_to_nobody() -> None:
    env: dict[str, Any] = {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}}
    gone = lost(owned(container(**{"f:env": env})))
    assert set(gone.values()) == {""}
    assert all(path.startswith(".spec.template.spec.containers[worker].env[B]") for path in gone)
    assert gone


def test_additions_of_others_and_replicas_are_nobodys_business() -> None:
    added = {
        "f:metadata": {"f:annotations": {"f:sidecar": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:template": {"f:spec": {"f:containers": {'k:{"name":"sidecar"}': {"f:image": {}}}}},
        },
    }
    assert lost(owned(container()), ("mesh", added)) == {}


def test_an_object_without_an_apply_has_lost_everything() -> None:
    (owner,) = field_owners(
        {"managedFields": [{"manager": "x", "operation": "Update", "fieldsV1": owned(container())}]}
    )
    assert IMAGE in lost_fields(MANIFEST, [owner])
    assert field_owners({}) == ()


def test_writes_of_status_count_for_nothing_and_equal_trees_are_one_text() -> None:
    entry = {"manager": "m", "operation": "Update", "fieldsV1": owned(None)}
    first, second = (field_owners({"managedFields": [json.loads(json.dumps(entry))]})[0].fields for _ in range(2))
    assert first is second
    assert field_owners({"managedFields": [entry | {"subresource": "status"}]}) == ()
