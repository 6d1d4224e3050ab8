"""Worker Deployments: read, apply, scale. Each write is conditional on what was read."""

from http import HTTPStatus
from typing import Final

from taskqueue_operator.resource.faults import Conflict
from taskqueue_operator.resource.names import Key

from .client import APPLY, JSON_PATCH, Api, Body, path
from .errors import ApiError, refused, unavailable

APPS: Final = "apis/apps/v1"
DEPLOYMENTS: Final = "deployments"


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


async def scale(api: Api, key: Key, *, replicas: int, generation: int) -> Body:
    """Set `spec.replicas` if the spec is still the one of that generation; a change of status does not matter.

    Raises:
        Conflict: It is at another generation, or gone.
        Fault: Any other trouble.
    """
    patch = [
        {"op": "test", "path": "/metadata/generation", "value": generation},
        {"op": "replace", "path": "/spec/replicas", "value": replicas},
    ]
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
            raise Conflict(f"Deployment {key} is not at generation {generation}") from None
        raise unavailable(f"scale Deployment {key}", error) from None
