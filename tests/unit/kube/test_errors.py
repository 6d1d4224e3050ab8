"""What an API server of Kubernetes 1.36 really answers, and what the user reads."""

import pytest

from taskqueue_operator.kube.errors import ApiError, refused, unavailable
from taskqueue_operator.resource.faults import Reason

SCHEMA = "failed to create typed patch object (media/thumbnails; apps/v1, Kind=Deployment): "
CONVERSION = (
    "failed to convert new object (media/thumbnails; apps/v1, Kind=Deployment) to proper version: "
    "unable to convert unstructured object to apps/v1, Kind=Deployment: "
)
QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def error(status: int, message: str, *causes: tuple[str, str]) -> ApiError:
    details = {"causes": [{"field": field, "message": words} for field, words in causes]}
    return ApiError(status, {"message": message, "details": details})


@pytest.mark.parametrize(
    ("answer", "words"),
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
def test_a_refused_deployment_is_told_in_the_words_of_the_api_server(answer: ApiError, words: str) -> None:
    fault = refused(answer)
    assert fault.message == (
        f"The API server refused the Deployment of the workers: {words}. "
        "Correct the field in spec.worker or in spec.worker.podTemplate."
    )
    assert fault.reason == Reason.POD_TEMPLATE_INVALID
    assert fault.terminal


def test_a_manifest_off_the_schema_is_not_tried_again_although_the_answer_is_500() -> None:
    assert not error(500, SCHEMA + ".x: field not declared in schema").passing
    assert error(500, "etcdserver: request timed out").passing


@pytest.mark.parametrize("status", [0, 429, 502, 503, 504])
def test_trouble_of_the_moment_passes(status: int) -> None:
    assert error(status, "").passing


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
def test_a_refusal_does_not(status: int) -> None:
    assert not error(status, "").passing


def test_missing_rights_lead_to_the_chart() -> None:
    words = 'deployments.apps "thumbnails" is forbidden: User "x" cannot patch resource "deployments"'
    fault = unavailable("apply Deployment media/thumbnails", error(403, words))
    assert fault.message == (
        f"Kubernetes: cannot apply Deployment media/thumbnails: {words}. "
        "Give the operator's ServiceAccount the rights that the chart gives it."
    )
    assert fault.reason == Reason.API_UNAVAILABLE


def test_a_quota_is_told_as_it_is() -> None:
    words = 'deployments.apps "thumbnails" is forbidden: exceeded quota: small, requested: 1, used: 1, limited: 1'
    assert unavailable("apply it", error(403, words)).message == f"Kubernetes: cannot apply it: {words}."
