"""Error answers of the API server, as recorded with Kubernetes 1.36, and the messages that users get."""

import pytest

from taskqueue_operator.kube.faults import ApiError, refused, unavailable
from taskqueue_operator.resource.faults import Reason
from tests.approved import assert_approved

SCHEMA = "failed to create typed patch object (media/thumbnails; apps/v1, Kind=Deployment): "
CONVERSION = (
    "failed to convert new object (media/thumbnails; apps/v1, Kind=Deployment) to proper version: "
    "unable to convert unstructured object to apps/v1, Kind=Deployment: "
)
QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def error(status: int, message: str, *causes: tuple[str, str]) -> ApiError:
    details = {"causes": [{"field": field, "message": text} for field, text in causes]}
    return ApiError(status, {"message": message, "details": details})


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (
            error(500, SCHEMA + ".spec.template.spec.fooBar: field not declared in schema"),
            "spec.template.spec.fooBar: field not declared in schema",
        ),
        (
            error(500, SCHEMA + '.spec.template.spec.containers[name="worker"].ports: expected list, got &{x}'),
            'spec.template.spec.containers[name="worker"].ports: expected list, got x',
        ),
        (
            error(
                500,
                SCHEMA + ".spec.template.spec.nodeSelector.a: expected string, got &value.valueUnstructured{Value:1}",
            ),
            "spec.template.spec.nodeSelector.a: expected string, got 1",
        ),
        (
            error(500, CONVERSION + QUANTITY),
            "unable to convert unstructured object to apps/v1, Kind=Deployment: " + QUANTITY,
        ),
        (
            error(
                422,
                'Deployment.apps "thumbnails" is invalid: [a: Required value, b: Required value]',
                ("spec.template.spec.containers[1].image", "Required value"),
                ("spec.template.spec.dnsPolicy", 'Unsupported value: "f"'),
            ),
            (
                "spec.template.spec.containers[1].image: Required value; "
                'spec.template.spec.dnsPolicy: Unsupported value: "f"'
            ),
        ),
    ],
)
def test_a_refused_deployment_is_reported_in_the_text_of_the_api_server(answer: ApiError, text: str) -> None:
    fault = refused(answer)
    assert_approved("kubernetes.deployment_refused", fault.message.replace(text, "TEXT OF THE API SERVER"))
    assert fault.reason == Reason.POD_TEMPLATE_INVALID
    assert fault.terminal


def test_a_manifest_that_does_not_match_the_schema_is_not_repeated_although_the_status_is_500() -> None:
    assert not error(500, SCHEMA + ".x: field not declared in schema").transient
    assert error(500, "etcdserver: request timed out").transient


@pytest.mark.parametrize("status", [0, 429, 502, 503, 504])
def test_a_transient_status_is_repeated(status: int) -> None:
    assert error(status, "").transient


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
def test_a_refusal_is_not_repeated(status: int) -> None:
    assert not error(status, "").transient


def test_missing_permissions_are_reported_with_the_way_out() -> None:
    text = 'deployments.apps "thumbnails" is forbidden: User "x" cannot patch resource "deployments"'
    fault = unavailable("apply Deployment media/thumbnails", error(403, text))
    assert_approved("kubernetes.permission_missing", fault.message)
    assert fault.reason == Reason.API_UNAVAILABLE


def test_an_exceeded_quota_is_not_reported_as_a_missing_permission() -> None:
    text = 'deployments.apps "thumbnails" is forbidden: exceeded quota: small, requested: 1, used: 1, limited: 1'
    assert unavailable("apply it", error(403, text)).message == f"Kubernetes: cannot apply it: {text}."


def test_rejected_credentials_are_reported_with_the_way_out() -> None:
    fault = unavailable("read Secret media/rabbitmq", error(401, "Unauthorized"))
    assert_approved("kubernetes.credentials_rejected", fault.message)
