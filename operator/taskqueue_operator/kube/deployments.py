"""Worker Deployments: read, apply, scale, annotate. Each write is conditional on the state that was read."""

from http import HTTPStatus
from typing import Final

from taskqueue_operator.resource.bounds import BEYOND_BOUNDS
from taskqueue_operator.resource.faults import Conflict, Reason, WorkersFault
from taskqueue_operator.resource.names import ANNOTATION_DRAIN, ANNOTATION_STARTED, Key

from .client import APPLY, JSON_PATCH, Api, Body, path
from .faults import ApiError, refused, unavailable

APPS: Final = "apis/apps/v1"
DEPLOYMENTS: Final = "deployments"
_DRAIN_TOKEN_PATH: Final = f"/metadata/annotations/{ANNOTATION_DRAIN.replace('/', '~1')}"
_STARTED_TEMPLATE_PATH: Final = f"/metadata/annotations/{ANNOTATION_STARTED.replace('/', '~1')}"


async def read(api: Api, key: Key) -> Body | None:
    """Read a Deployment; None if it does not exist.

    Raises:
        WorkersFault: The Deployment is too large.
        Fault: The API server cannot be used.
    """
    try:
        body = await api.request("GET", path(APPS, DEPLOYMENTS, key))
    except ApiError as error:
        if error.not_found:
            return None
        raise unavailable(f"read Deployment {key}", error) from None
    if BEYOND_BOUNDS in body:
        message = f"Deployment {key}: {body[BEYOND_BOUNDS]}. Remove what was added to it, or delete it."
        raise WorkersFault(Reason.DEPLOYMENT_CONFLICT, message, terminal=True)
    return body


async def apply(api: Api, manifest: Body) -> Body:
    """Server-side apply, as the only manager of the fields in the manifest.

    With `metadata.resourceVersion`, the apply is forced: it takes over fields of other managers. Without it, the
    Deployment is expected to be new, and an existing Deployment of other managers is not changed.

    Raises:
        Conflict: The Deployment changed since it was read, or exists unexpectedly, or its namespace is gone.
        WorkersFault: The API server refuses the manifest.
        Fault: The API server cannot be used.
    """
    key = Key(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
    force = "resourceVersion" in manifest["metadata"]
    query = {"fieldManager": api.manager, "force": str(force).lower()}
    try:
        return await api.request("PATCH", path(APPS, DEPLOYMENTS, key), query=query, body=manifest, content=APPLY)
    except ApiError as error:
        if error.not_found or error.conflict:
            raise Conflict(error.message) from None
        if error.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY} or error.schema_mismatch:
            raise refused(error) from None
        raise unavailable(f"apply Deployment {key}", error) from None


async def scale(  # noqa: PLR0913  two conditions and two values
    api: Api, key: Key, *, replicas: int, generation: int, drain_token: str, started_template: str
) -> Body:
    """Set `spec.replicas` if the Deployment is at this generation; status changes do not matter.

    A `drain_token` that is not empty must also equal the drain annotation. A `started_template` that is not empty is
    written as an annotation.

    Raises:
        Conflict: The generation or the annotation differs, or the Deployment is gone.
        Fault: The API server cannot be used.
    """
    patch: list[Body] = [{"op": "test", "path": "/metadata/generation", "value": generation}]
    if drain_token:
        patch.append({"op": "test", "path": _DRAIN_TOKEN_PATH, "value": drain_token})
    patch.append({"op": "replace", "path": "/spec/replicas", "value": replicas})
    if started_template:
        patch.append({"op": "add", "path": _STARTED_TEMPLATE_PATH, "value": started_template})
    try:
        return await api.request(
            "PATCH",
            path(APPS, DEPLOYMENTS, key),
            query={"fieldManager": api.manager},
            body=patch,
            content=JSON_PATCH,
        )
    except ApiError as error:
        if error.not_found or error.conflict or error.test_failed:
            token = f" with drain token {drain_token}" if drain_token else ""
            raise Conflict(f"Deployment {key} is not at generation {generation}{token}") from None
        raise unavailable(f"scale Deployment {key}", error) from None


async def set_drain_token(api: Api, key: Key, token: str, *, generation: int) -> Body:
    """Write the drain annotation, or remove it if `token` is empty, if the Deployment is at this generation.

    A change of an annotation increases the generation of a Deployment, as a change of the spec does. So the same
    generation means that the annotation has not changed either.

    Raises:
        Conflict: The generation differs, or the Deployment is gone.
        Fault: The API server cannot be used.
    """
    change: Body = {"op": "add", "value": token} if token else {"op": "remove"}
    change["path"] = _DRAIN_TOKEN_PATH
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
        if error.not_found or error.conflict or error.test_failed:
            raise Conflict(f"Deployment {key} is not at generation {generation}") from None
        raise unavailable(f"annotate Deployment {key}", error) from None
