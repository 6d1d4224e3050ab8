"""Worker Deployments: read, apply, scale. Each write is conditional on what was read."""

from http import HTTPStatus
from typing import Final

from taskqueue_operator.resource.faults import Conflict
from taskqueue_operator.resource.names import ANNOTATION_DRAIN, Key

from .client import APPLY, JSON_PATCH, Api, Body, path
from .errors import ApiError, refused, unavailable

APPS: Final = "apis/apps/v1"
DEPLOYMENTS: Final = "deployments"
_MARK_PATH: Final = f"/metadata/annotations/{ANNOTATION_DRAIN.replace('/', '~1')}"


async def read(api: Api, key: Key) -> Body | None:
    """Read one; None when there is none."""
    try:
        return await api.request("GET", path(APPS, DEPLOYMENTS, key))
    except ApiError as error:
        if error.missing:
            return None
        raise unavailable(f"read Deployment {key}", error) from None


async def apply(api: Api, manifest: Body) -> Body:
    """Apply as the one and only manager of the fields in the manifest.

    With `metadata.resourceVersion` fields are taken from other managers by force; without it, that is to make a new
    one, a Deployment that is there after all is left to its managers.

    Raises:
        Conflict: It is not what was read, or not absent; or its namespace is gone.
        WorkersFault: The API server does not take the manifest.
        Fault: Any other trouble.
    """
    key = Key(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
    force = "resourceVersion" in manifest["metadata"]
    query = {"fieldManager": api.manager, "force": str(force).lower()}
    try:
        return await api.request("PATCH", path(APPS, DEPLOYMENTS, key), query=query, body=manifest, content=APPLY)
    except ApiError as error:
        if error.missing or error.conflict:
            raise Conflict(error.message) from None
        if error.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY} or error.off_schema:
            raise refused(error) from None
        raise unavailable(f"apply Deployment {key}", error) from None


async def scale(api: Api, key: Key, *, replicas: int, generation: int, mark: str) -> Body:
    """Set `spec.replicas` if the spec is still the one of that generation; a change of status does not matter.

    With a `mark`, only while the drain annotation says so.

    Raises:
        Conflict: It is at another generation, has another annotation, or is gone.
        Fault: Any other trouble.
    """
    patch: list[Body] = [{"op": "test", "path": "/metadata/generation", "value": generation}]
    if mark:
        patch.append({"op": "test", "path": _MARK_PATH, "value": mark})
    patch.append({"op": "replace", "path": "/spec/replicas", "value": replicas})
    try:
        return await api.request(
            "PATCH",
            path(APPS, DEPLOYMENTS, key),
            query={"fieldManager": api.manager},
            body=patch,
            content=JSON_PATCH,
        )
    except ApiError as error:
        if error.missing or error.conflict or error.failed_test:
            raise Conflict(f"Deployment {key} is not at generation {generation} {mark}".rstrip()) from None
        raise unavailable(f"scale Deployment {key}", error) from None


async def mark(api: Api, key: Key, text: str, *, generation: int) -> Body:
    """Write the drain annotation, or remove it if empty, if the Deployment is still at that generation.

    Annotations of Deployments move it as the spec does, so nobody else has written this one meanwhile.

    Raises:
        Conflict: It is at another generation, or is gone.
        Fault: Any other trouble.
    """
    change: Body = {"op": "add", "path": _MARK_PATH, "value": text} if text else {"op": "remove", "path": _MARK_PATH}
    test = {"op": "test", "path": "/metadata/generation", "value": generation}
    try:
        return await api.request(
            "PATCH",
            path(APPS, DEPLOYMENTS, key),
            query={"fieldManager": api.manager},
            body=[test, change],
            content=JSON_PATCH,
        )
    except ApiError as error:
        if error.missing or error.conflict or error.failed_test:
            raise Conflict(f"Deployment {key} is not at generation {generation}") from None
        raise unavailable(f"annotate Deployment {key}", error) from None
