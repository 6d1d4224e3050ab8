"""What an adapter reads from the environment of its pod."""

import pytest

from taskqueue_drain.environment import CannotJoinError, identity_of, port_of
from tests.approved import assert_approved


def test_a_worker_is_identified_by_its_taskqueue_pod_and_process() -> None:
    pod = {"TASKQUEUE_NAME": "media/jobs", "TASKQUEUE_POD_UID": "8c0c", "TASKQUEUE_TASK_TIMEOUT_SECONDS": "60"}
    first, second = identity_of(pod), identity_of(pod)
    assert (first.taskqueue, first.pod, first.task_timeout_seconds) == ("media/jobs", "8c0c", 60)
    assert len(bytes.fromhex(first.incarnation)) == 16
    assert first.incarnation != second.incarnation


def test_defaults_are_those_of_the_contract() -> None:
    assert identity_of({"TASKQUEUE_NAME": "a/b"}).task_timeout_seconds == 870
    assert port_of({}) == 8080


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("adapter.contract", {"TASKQUEUE_CONTRACT": "2", "TASKQUEUE_NAME": "a/b"}),
        ("adapter.name", {}),
        ("adapter.timeout", {"TASKQUEUE_NAME": "a/b", "TASKQUEUE_TASK_TIMEOUT_SECONDS": "0"}),
    ],
)
def test_a_worker_that_cannot_join_learns_why(name: str, environment: dict[str, str]) -> None:
    with pytest.raises(CannotJoinError) as refused:
        identity_of(environment)
    assert_approved(name, str(refused.value))


@pytest.mark.parametrize("text", ["-1", "65536", "x", "8080\n", "٣", "9" * 5000])
def test_a_port_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CannotJoinError, match="TASKQUEUE_HTTP_PORT"):
        port_of({"TASKQUEUE_HTTP_PORT": text})
