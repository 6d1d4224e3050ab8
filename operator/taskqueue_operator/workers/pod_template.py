"""The user's podTemplate merged into ours, as `kubectl patch` would: maps by key, lists by their merge key.

What is merely our default may be overridden. What is claimed, because spec.worker says it too or because the operator
needs it, is refused with the way out.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from taskqueue_operator.resource.faults import Reason, WorkersFault

ROOT: Final = "spec.worker.podTemplate"

_MERGE_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "containers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "ports": ("containerPort", "protocol"),
}
"""Those lists that the operator fills. All others are the user's alone and pass as they are, or replace ours."""

_DEFAULTS: Final = {"protocol": "TCP"}
_WHOLE: Final = frozenset({"volumes"})
"""Lists whose elements are replaced, not merged: a volume has one source (patchStrategy retainKeys)."""

_HANDLERS: Final = frozenset({"exec", "httpGet", "tcpSocket", "grpc"})
"""A probe has one of them: the user's takes the place of ours."""

Claims = Mapping[str, str]
"""Path within the template -> what to tell whoever sets it again."""


def merge(base: dict[str, Any], patch: dict[str, Any], claims: Claims) -> dict[str, Any]:
    """Merge a PodTemplateSpec of the user's into ours; null removes one of our defaults.

    The API server keeps nulls; `kubectl apply` drops them on the way unless it is told --server-side.

    Raises:
        WorkersFault: A claimed field is set, or the patch has not the shape of a pod template.
    """
    for key in patch:
        if key not in {"metadata", "spec"}:
            raise _invalid(f"{ROOT}.{key} is not part of a pod template, which has metadata and spec. Remove it.")
    return _merge_map(base, patch, claims, "")


def leaves(value: object, path: str) -> Iterator[str]:
    """List the paths that a value sets: scalars, whole atomic lists, elements of merged lists."""
    key = path.rpartition(".")[2]
    if isinstance(value, dict):
        for name, each in value.items():
            yield from leaves(each, step(path, name))
    elif isinstance(value, list) and key in _MERGE_KEYS:
        for index, element in enumerate(value):
            yield path + _identity(element, _MERGE_KEYS[key], f"{path}[{index}]")
    else:
        yield path


def step(path: str, key: str) -> str:
    """Go from a map to one of its fields."""
    return f"{path}.{key}" if re.fullmatch(r"\w+", key) else f"{path}[{key}]"


def _merge_map(base: dict[str, Any], patch: dict[str, Any], claims: Claims, path: str) -> dict[str, Any]:
    merged = dict(base)
    if _HANDLERS & patch.keys():
        merged = {key: value for key, value in base.items() if key not in _HANDLERS - patch.keys()}
    for key, value in patch.items():
        where = step(path, key)
        _refuse_claimed(claims, where, removed=value is None)
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_value(merged.get(key), value, claims, where)
    return merged


def _merge_value(base: object, value: object, claims: Claims, path: str) -> object:
    if isinstance(base, dict) and not isinstance(value, dict):
        raise _invalid(f"{ROOT}{path} must be a map.")
    if isinstance(value, dict) and not isinstance(base, list):
        return _merge_map(base if isinstance(base, dict) else {}, value, claims, path)
    if isinstance(base, list):
        if not isinstance(value, list):
            raise _invalid(f"{ROOT}{path} must be a list.")
        return _merge_list(base, value, claims, path)
    return value


def _merge_list(base: list[Any], patch: list[Any], claims: Claims, path: str) -> list[Any]:
    field = path.rpartition(".")[2]
    keys = _MERGE_KEYS.get(field)
    if keys is None:
        return patch
    merged = {_identity(element, keys, path): element for element in base}
    seen = set()
    for index, element in enumerate(patch):
        identity = _identity(element, keys, f"{ROOT}{path}[{index}]")
        where = path + identity
        if identity in seen:
            raise _invalid(f"{ROOT}{where} is there twice. Keep one of them.")
        seen.add(identity)
        _refuse_claimed(claims, where)
        ours = {} if field in _WHOLE else merged.get(identity, {})
        merged[identity] = _merge_map(ours, element, claims, where)
    return list(merged.values())


def _identity(element: object, keys: tuple[str, ...], path: str) -> str:
    if not isinstance(element, dict):
        raise _invalid(f"{path} must be a map.")
    if keys[0] not in element:
        raise _invalid(f"{path} has no {keys[0]}. Give it one.")
    values = {key: element.get(key, _DEFAULTS.get(key)) for key in keys}
    shown = ",".join(f"{key}={value}" for key, value in values.items() if value != _DEFAULTS.get(key))
    return f"[{shown}]"


def _refuse_claimed(claims: Claims, path: str, *, removed: bool = False) -> None:
    if path in claims:
        raise WorkersFault(Reason.FIELD_CONFLICT, claims[path], terminal=True)
    below = [claimed for claimed in claims if claimed.startswith((f"{path}.", f"{path}["))] if removed else ()
    if below:
        raise _invalid(f"{ROOT}{path} is null, which would remove {below[0]} too. Remove the line.")


def _invalid(message: str) -> WorkersFault:
    return WorkersFault(Reason.POD_TEMPLATE_INVALID, message, terminal=True)
