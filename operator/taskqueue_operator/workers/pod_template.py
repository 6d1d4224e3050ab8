"""Merges the podTemplate of the user into the template of the operator, like `kubectl patch`: lists by their merge key.

The user may override defaults of the operator. A claimed path, one that spec.worker sets or that the operator needs, is
rejected.
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
"""Lists in which the operator sets elements. All other lists of the user replace those of the operator."""

_DEFAULTS: Final = {"protocol": "TCP"}
_REPLACED: Final = frozenset({"volumes"})
"""Lists with elements that are replaced, not merged: a volume has one source (patchStrategy retainKeys)."""

_HANDLERS: Final = frozenset({"exec", "httpGet", "tcpSocket", "grpc"})
"""A probe has only one of these: that of the user replaces that of the operator."""

Claims = Mapping[str, str]
"""Path in the template, and the message for a user who sets it."""


def merge(base: dict[str, Any], patch: dict[str, Any], claims: Claims) -> dict[str, Any]:
    """Return `base` with the PodTemplateSpec of the user merged into it; null removes a default of the operator.

    The API server keeps nulls. `kubectl apply` drops them, except with --server-side.

    Raises:
        WorkersFault: A claimed field is set, or the patch is not a valid pod template.
    """
    for key in patch:
        if key not in {"metadata", "spec"}:
            raise _invalid(
                f"{ROOT}.{key} is not a field of a pod template; the fields are metadata and spec. Remove it."
            )
    return _merge_map(base, patch, claims, "")


def leaves(value: object, path: str) -> Iterator[str]:
    """Return the paths that a value sets: scalars, atomic lists, and elements of merged lists."""
    key = path.rpartition(".")[2]
    if isinstance(value, dict):
        for name, field in value.items():
            yield from leaves(field, field_path(path, name))
    elif isinstance(value, list) and key in _MERGE_KEYS:
        for index, element in enumerate(value):
            yield path + _identity(element, _MERGE_KEYS[key], f"{path}[{index}]")
    else:
        yield path


def field_path(path: str, key: str) -> str:
    """Return the path of a field of the map at `path`."""
    return f"{path}.{key}" if re.fullmatch(r"\w+", key) else f"{path}[{key}]"


def _merge_map(base: dict[str, Any], patch: dict[str, Any], claims: Claims, path: str) -> dict[str, Any]:
    merged = dict(base)
    if _HANDLERS & patch.keys():
        merged = {key: value for key, value in base.items() if key not in _HANDLERS - patch.keys()}
    for key, value in patch.items():
        field = field_path(path, key)
        _check_claims(claims, field, removed=value is None)
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_value(merged.get(key), value, claims, field)
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
        element_path = path + identity
        if identity in seen:
            raise _invalid(f"{ROOT}{element_path} is a duplicate. Keep one of the elements.")
        seen.add(identity)
        _check_claims(claims, element_path)
        default = {} if field in _REPLACED else merged.get(identity, {})
        merged[identity] = _merge_map(default, element, claims, element_path)
    return list(merged.values())


def _identity(element: object, keys: tuple[str, ...], path: str) -> str:
    if not isinstance(element, dict):
        raise _invalid(f"{path} must be a map.")
    if keys[0] not in element:
        raise _invalid(f"{path}.{keys[0]} is missing. Add it.")
    values = {key: element.get(key, _DEFAULTS.get(key)) for key in keys}
    shown = ",".join(f"{key}={value}" for key, value in values.items() if value != _DEFAULTS.get(key))
    return f"[{shown}]"


def _check_claims(claims: Claims, path: str, *, removed: bool = False) -> None:
    if path in claims:
        raise WorkersFault(Reason.FIELD_CONFLICT, claims[path], terminal=True)
    below = [claimed for claimed in claims if claimed.startswith((f"{path}.", f"{path}["))] if removed else ()
    if below:
        raise _invalid(f"{ROOT}{path} is null, which would remove {ROOT}{below[0]} too. Remove the null.")


def _invalid(message: str) -> WorkersFault:
    return WorkersFault(Reason.POD_TEMPLATE_INVALID, message, terminal=True)
