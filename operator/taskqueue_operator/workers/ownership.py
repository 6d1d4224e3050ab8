"""Which fields of the Deployment the operator owns, by `metadata.managedFields`: a change by another client takes them.

`managedFields` holds, for each manager, a tree of the fields that it set last: `f:NAME` for a field, `k:{KEYS}` for an
element of a list by its keys, `v:VALUE` for one of a set, and no children for what is replaced as a whole.
"""

import json
from collections.abc import Iterator, Sequence
from sys import intern
from typing import Any, Final, NamedTuple

from taskqueue_operator.resource.names import MANAGER

Tree = dict[str, Any]
_KEY_DEFAULTS: Final = {"protocol": "TCP"}
"""Keys of list elements that the API server fills in."""
_METADATA: Final = frozenset({"f:labels", "f:annotations"})


class FieldOwner(NamedTuple):
    """A field manager and what it owns of labels, annotations and spec, as JSON. Equal trees are one text in memory."""

    manager: str
    applies: bool
    fields: str


def field_owners(metadata: dict[str, Any]) -> tuple[FieldOwner, ...]:
    """Return the owners of what a manifest sets; none for an object without `managedFields`."""
    return tuple(
        FieldOwner(intern(entry.get("manager", "")), entry.get("operation") == "Apply", _fields(entry["fieldsV1"]))
        for entry in metadata.get("managedFields") or ()
        if not entry.get("subresource") and "fieldsV1" in entry
    )


def lost_fields(manifest: dict[str, Any], owners: Sequence[FieldOwner]) -> dict[str, str]:
    """Return each field of the manifest that its last apply does not own any more, with who owns it now.

    The owner is empty for a field that another client removed, and for one that was never applied.
    """
    owned = dict(_owners_of(manifest, owners))
    own = next((owner for owner in owners if owner.applies and owner.manager == MANAGER), None)
    tree = json.loads(own.fields) if own is not None else None
    return {path: owned.get(path, "") for path, is_own in _leaves(_settable(manifest), tree or None, "") if not is_own}


def _owners_of(manifest: dict[str, Any], owners: Sequence[FieldOwner]) -> Iterator[tuple[str, str]]:
    for owner in owners:
        if owner.manager != MANAGER:
            for path, is_own in _leaves(_settable(manifest), json.loads(owner.fields) or None, ""):
                if is_own:
                    yield path, owner.manager


def _settable(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the part that is compared: not the replicas, which the operator itself writes in another way."""
    metadata = {name: manifest["metadata"].get(name) for name in ("labels", "annotations")}
    return {
        "metadata": metadata,
        "spec": {name: value for name, value in manifest["spec"].items() if name != "replicas"},
    }


def _fields(tree: Tree) -> str:
    metadata = {name: node for name, node in tree.get("f:metadata", {}).items() if name in _METADATA}
    kept = {"f:metadata": metadata, "f:spec": tree.get("f:spec", {})}
    return intern(json.dumps({name: node for name, node in kept.items() if node}, sort_keys=True))


def _leaves(value: Any, tree: Tree | None, path: str) -> Iterator[tuple[str, bool]]:  # noqa: ANN401  JSON
    """List the leaves of a value, and whether the tree contains each."""
    if value is None or value in ({}, []):
        return
    if isinstance(value, dict) and tree != {}:
        for name, child in value.items():
            yield from _leaves(child, (tree or {}).get(f"f:{name}"), f"{path}.{name}")
    elif isinstance(value, list) and tree != {}:
        for item in value:
            yield from _leaves(item, _element(item, tree or {}), f"{path}[{_label(item)}]")
    else:
        yield path, tree is not None


def _element(item: Any, tree: Tree) -> Tree | None:  # noqa: ANN401  JSON
    if not isinstance(item, dict):
        node: Tree | None = tree.get(f"v:{json.dumps(item)}")
        return node
    for name, node in tree.items():
        if name.startswith("k:") and _has_keys(item, json.loads(name[2:])):
            return node
    return None


def _has_keys(item: dict[str, Any], keys: dict[str, Any]) -> bool:
    return all(item.get(name, _KEY_DEFAULTS.get(name)) == value for name, value in keys.items())


def _label(item: Any) -> str:  # noqa: ANN401  JSON
    return str(item.get("name", "")) if isinstance(item, dict) else str(item)
