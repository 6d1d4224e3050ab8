"""Worker Deployments: read, apply, scale, annotate. Each write is conditional on the state that was read."""

from http import HTTPStatus
from typing import Final

from taskqueue_operator.resource.bounds import BEYOND_BOUNDS
from taskqueue_operator.resource.faults import Conflict, Reason, WorkersFault
from taskqueue_operator.resource.names import ANNOTATION_DRAIN, ANNOTATION_STARTED, LABEL_NAME, Key

from .client import APPLY, JSON_PATCH, Api, Body, path
from .faults import ApiError, refused, unavailable

APPS: Final = "apis/apps/v1"
DEPLOYMENTS: Final = "deployments"
_DRAIN_TOKEN_PATH: Final = f"/metadata/annotations/{ANNOTATION_DRAIN.replace('/', '~1')}"
_LABEL_PATH: Final = f"/metadata/labels/{LABEL_NAME.replace('/', '~1')}"
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


async def scale(  # noqa: PLR0913  three conditions and two values
    api: Api, key: Key, *, replicas: int, taskqueue: str, generation: int, drain_token: str, started_template: str
) -> Body:
    """Set `spec.replicas` of the Deployment of a TaskQueue at this generation; status changes do not matter.

    A `drain_token` that is not empty must also equal the drain annotation. A `started_template` that is not empty is
    written as an annotation.

    Raises:
        Conflict: The label, the generation or the annotation differs, or the Deployment is gone.
        Fault: The API server cannot be used.
    """
    token = [_test(_DRAIN_TOKEN_PATH, drain_token)] if drain_token else []
    changes: list[Body] = [{"op": "replace", "path": "/spec/replicas", "value": replicas}]
    if started_template:
        changes.append({"op": "add", "path": _STARTED_TEMPLATE_PATH, "value": started_template})
    return await _patch(api, key, [*_is(taskqueue, generation), *token], changes, action="scale")


async def set_drain_token(api: Api, key: Key, token: str, *, taskqueue: str, generation: int) -> Body:
    """Write the drain annotation of the Deployment of a TaskQueue at this generation; an empty `token` removes it.

    A change of an annotation increases the generation of a Deployment, as a change of the spec does. So the same
    generation means that the annotation has not changed either.

    Raises:
        Conflict: The label or the generation differs, or the Deployment is gone.
        Fault: The API server cannot be used.
    """
    change: Body = {"op": "add", "value": token} if token else {"op": "remove"}
    change["path"] = _DRAIN_TOKEN_PATH
    return await _patch(api, key, _is(taskqueue, generation), [change], action="annotate")


def _is(taskqueue: str, generation: int) -> list[Body]:
    """Return the tests that each write needs. A change of a label does not increase the generation."""
    return [_test("/metadata/generation", generation), _test(_LABEL_PATH, taskqueue)]


def _test(where: str, value: object) -> Body:
    return {"op": "test", "path": where, "value": value}


async def _patch(api: Api, key: Key, tests: list[Body], changes: list[Body], *, action: str) -> Body:
    where, query = path(APPS, DEPLOYMENTS, key), {"fieldManager": api.manager}
    try:
        return await api.request("PATCH", where, query=query, body=[*tests, *changes], content=JSON_PATCH)
    except ApiError as error:
        if error.not_found or error.conflict or error.test_failed:
            expected = ", ".join(f"{test['path']} {test['value']}" for test in tests)
            raise Conflict(f"Deployment {key} is not as expected: {expected}") from None
        raise unavailable(f"{action} Deployment {key}", error) from None
