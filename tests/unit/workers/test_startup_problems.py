from typing import Any

import pytest

from taskqueue_operator.resource.faults import Reason, WorkersFault
from taskqueue_operator.workers.api_objects import Deployment, Pod
from taskqueue_operator.workers.startup_problems import scale_out_blocker, unavailable_reason
from tests.approved import assert_approved

from .pod_statuses import BY_OPERATOR, CRASHED, QUOTA, READY, UNSCHEDULABLE, container, refused, waiting

INIT_CONTAINER = {
    "initContainerStatuses": [
        {"name": "migrate", "image": "acme/db:1", "state": {"waiting": {"reason": "ErrImagePull"}}}
    ]
}
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
BETWEEN_CRASHES = container({"running": {}}, lastState=KILLED, restartCount=1)
VIOLATION = 'pods "thumbnails-1" is forbidden: violates PodSecurity "restricted:latest": host namespaces.'


def deployment(replicas: int = 2, digest: str = "new", refusal: str = "") -> Deployment:
    annotations = {"taskqueue.dev/template-digest": digest}
    metadata = {"namespace": "media", "name": "thumbnails", "uid": "d", "resourceVersion": "1"}
    return Deployment.parse(
        {
            "metadata": metadata | {"annotations": annotations, "ownerReferences": BY_OPERATOR},
            "spec": {"replicas": replicas},
            "status": {
                "conditions": [{"type": "Available", "status": "True"}, *([refused(refusal)] if refusal else ())]
            },
        }
    )


def pod(status: dict[str, Any], *, digest: str = "new", name: str = "thumbnails-new-1", **metadata: object) -> Pod:
    labels, annotations = {"taskqueue.dev/name": "thumbnails"}, {"taskqueue.dev/template-digest": digest}
    named = {"namespace": "media", "name": name, "resourceVersion": "1", "labels": labels, "annotations": annotations}
    return Pod.parse({"metadata": named | metadata, "status": status})


def reason(fault: WorkersFault | None) -> Reason | None:
    return None if fault is None else fault.reason


def message(fault: WorkersFault | None) -> str:
    assert fault is not None
    return fault.message


@pytest.mark.parametrize(
    ("status", "unavailable", "blocker"),
    [
        (waiting("ImagePullBackOff"), "workers.unavailable_image", "workers.blocker_image"),
        (INIT_CONTAINER, "workers.unavailable_init_container_image", "workers.blocker_init_container_image"),
        (
            container({"waiting": {"reason": "CrashLoopBackOff"}}, lastState=CRASHED, restartCount=3),
            "workers.unavailable_crash_loop",
            "workers.blocker_crash_loop",
        ),
        (
            BETWEEN_CRASHES,
            "workers.unavailable_crash_loop_between_crashes",
            "workers.blocker_crash_loop_between_crashes",
        ),
        (
            waiting("CreateContainerConfigError", 'secret "keys" not found'),
            "workers.unavailable_config_error",
            "workers.blocker_config_error",
        ),
        (waiting("RunContainerError"), "workers.unavailable_run_error", "workers.blocker_run_error"),
    ],
    ids=["image", "init container", "crash loop", "between two crashes", "config", "no words"],
)
def test_a_failing_worker_is_reported_and_blocks_scale_out(
    status: dict[str, Any], unavailable: str, blocker: str
) -> None:
    fault = unavailable_reason(deployment(), [pod(status)])
    assert reason(fault) is Reason.WORKERS_FAILING
    assert_approved(unavailable, message(fault))
    fault = scale_out_blocker(deployment(), [pod(status)], started=False)
    assert reason(fault) is Reason.WORKERS_FAILING
    assert_approved(blocker, message(fault))


ANSWER = (
    "PRECONDITION_FAILED - inequivalent arg 'x-dead-letter-exchange' for queue 'thumbnails' in vhost 'media': received "
    "none but current is the value 'thumbnails.dlx' of type 'longstr'"
)


def crashed(message: str) -> dict[str, Any]:
    last = {"terminated": {"exitCode": 1, "reason": "Error", "message": message}}
    return container({"waiting": {"reason": "CrashLoopBackOff"}}, lastState=last, restartCount=3)


@pytest.mark.parametrize(
    "line",
    [
        f'pika.exceptions.ChannelClosedByBroker: (406, "{ANSWER}")',
        f"aiormq.exceptions.ChannelPreconditionFailed: {ANSWER}",
        f"amqp.exceptions.PreconditionFailed: Queue.declare: (406) {ANSWER}",
        "error='" + ANSWER.replace("'", "\\'") + "'",
    ],
    ids=["pika", "aio-pika", "Celery", "quoted"],
)
@pytest.mark.parametrize("started", [True, False])
def test_a_declaration_that_the_broker_refuses_is_explained(line: str, *, started: bool) -> None:
    log = f"connecting to amqp://user:CANARY@broker\n{line}\npassword CANARY"
    # Of two pods, the one that shows the cause.
    pods = [pod(crashed("")), pod(crashed(log), name="thumbnails-new-2")]
    fault = unavailable_reason(deployment(), pods, started=started, queues=["thumbnails"])
    assert reason(fault) is Reason.WORKERS_FAILING
    assert_approved("workers.refused_declaration", message(fault))


@pytest.mark.parametrize(
    "log",
    [
        ANSWER.replace("'thumbnails'", "'CANARY'"),
        ANSWER.replace("x-dead-letter-exchange", "CANARY"),
        ANSWER.replace("x-dead-letter-exchange", "x-" + "a" * 41),
        ANSWER.replace("'thumbnails'", "'thumbnails CANARY"),
        "PRECONDITION_FAILED - inequivalent arg 'x-" * 100_000,
        "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '" * 100_000,
        ANSWER + "." * 5000,
        "CANARY",
    ],
)
def test_no_other_text_of_a_termination_message_is_repeated(log: str) -> None:
    expected = message(unavailable_reason(deployment(), [pod(crashed(""))], queues=["thumbnails"]))
    assert message(unavailable_reason(deployment(), [pod(crashed(log))], queues=["thumbnails"])) == expected


def test_an_exceeded_quota_is_reported_by_name_and_blocks_scale_out() -> None:
    with_quota = deployment(refusal=QUOTA)
    for started in (True, False):
        fault = scale_out_blocker(with_quota, [pod(READY)], started=started)
        assert reason(fault) is Reason.QUOTA_EXCEEDED
        assert_approved("workers.blocker_quota", message(fault))
    fault = unavailable_reason(with_quota, [])
    assert reason(fault) is Reason.QUOTA_EXCEEDED
    assert_approved("workers.unavailable_quota", message(fault))


def test_unschedulable_workers_are_reported_with_the_message_of_the_scheduler_and_block_scale_out() -> None:
    for started in (True, False):
        pods = [pod(READY), pod(UNSCHEDULABLE, name="thumbnails-new-2")]
        fault = scale_out_blocker(deployment(), pods, started=started)
        assert reason(fault) is Reason.UNSCHEDULABLE
        assert_approved("workers.blocker_unschedulable", message(fault))
    fault = unavailable_reason(deployment(), [pod(UNSCHEDULABLE)])
    assert reason(fault) is Reason.UNSCHEDULABLE
    assert_approved("workers.unavailable_unschedulable", message(fault))


def test_pods_that_the_api_server_rejects_block_scale_out_only_of_a_version_that_never_started() -> None:
    rejected = deployment(refusal=VIOLATION)
    fault = unavailable_reason(rejected, [])
    assert reason(fault) is Reason.WORKERS_FAILING
    assert_approved("workers.unavailable_rejected", message(fault))
    fault = scale_out_blocker(rejected, [], started=False)
    assert reason(fault) is Reason.WORKERS_FAILING
    assert_approved("workers.blocker_rejected", message(fault))
    assert scale_out_blocker(rejected, [], started=True) is None


def test_a_cause_that_only_a_change_of_the_spec_can_fix_is_reported_first() -> None:
    rejected, pods = deployment(refusal=QUOTA), [pod(UNSCHEDULABLE), pod(waiting("ImagePullBackOff"), name="b")]
    faults = [
        scale_out_blocker(rejected, pods, started=False),
        scale_out_blocker(rejected, pods, started=True),
        unavailable_reason(rejected, pods),
    ]
    assert [reason(fault) for fault in faults] == [
        Reason.WORKERS_FAILING,
        Reason.QUOTA_EXCEEDED,
        Reason.WORKERS_FAILING,
    ]


@pytest.mark.parametrize(
    "status",
    [
        {},
        waiting("ContainerCreating"),
        waiting("PodInitializing"),
        container({"running": {}}),
        container({"terminated": {"exitCode": 0}}, restartCount=1),
        READY,
    ],
)
def test_a_worker_that_starts_or_runs_is_no_problem(status: dict[str, Any]) -> None:
    assert unavailable_reason(deployment(), [pod(status)]) is None
    assert scale_out_blocker(deployment(), [pod(status)], started=True) is None


def test_failing_workers_are_no_problem_while_another_worker_of_the_version_is_ready() -> None:
    pods = [pod(waiting("ImagePullBackOff"), name="thumbnails-new-1"), pod(READY, name="thumbnails-new-2")]
    assert unavailable_reason(deployment(), pods) is None
    assert scale_out_blocker(deployment(), pods, started=False) is None


def test_a_failing_version_that_has_started_before_is_reported_but_does_not_block_scale_out() -> None:
    pods = [pod(waiting("CrashLoopBackOff"))]
    assert unavailable_reason(deployment(), pods) is not None
    assert scale_out_blocker(deployment(), pods, started=True) is None


def test_ready_workers_of_an_older_version_do_not_hide_failures_of_the_new_version() -> None:
    pods = [pod(READY, digest="old", name="thumbnails-old-1"), pod(waiting("ImagePullBackOff"))]
    assert unavailable_reason(deployment(), pods) is not None
    assert scale_out_blocker(deployment(), pods, started=False) is not None


def test_failing_workers_of_an_older_version_are_ignored() -> None:
    """A corrected image is not blocked by pods that still wait for the wrong one."""
    pods = [pod(waiting("ImagePullBackOff"), digest="old"), pod(UNSCHEDULABLE, digest="old", name="b")]
    assert unavailable_reason(deployment(), pods) is None
    assert reason(scale_out_blocker(deployment(), pods, started=False)) is Reason.WORKERS_STARTING


def test_a_version_of_which_no_worker_has_been_ready_is_tried_before_all_workers_follow() -> None:
    fault = scale_out_blocker(deployment(replicas=0), [], started=False)
    assert reason(fault) is Reason.WORKERS_STARTING
    assert_approved("workers.blocker_unproven", message(fault))
    assert scale_out_blocker(deployment(), [pod(READY)], started=False) is None
    assert scale_out_blocker(deployment(replicas=0), [], started=True) is None


def test_workers_that_end_after_they_have_started_are_told_from_workers_that_never_start() -> None:
    """A task may end them, for example for want of memory."""
    killed = container({"waiting": {"reason": "CrashLoopBackOff"}}, lastState=KILLED, restartCount=3)
    fault = unavailable_reason(deployment(), [pod(killed)], started=True)
    assert reason(fault) is Reason.WORKERS_FAILING
    assert_approved("workers.unavailable_crash_loop_after_start", message(fault))


def test_pods_that_terminate_or_have_ended_are_ignored() -> None:
    terminating = pod(waiting("ImagePullBackOff"), deletionTimestamp="2026-01-01T00:00:00Z")
    ended = pod({"phase": "Failed", **waiting("ImagePullBackOff")})
    for ignored in (terminating, ended):
        assert unavailable_reason(deployment(), [ignored]) is None
        assert scale_out_blocker(deployment(), [ignored], started=True) is None


def test_without_a_deployment_or_at_zero_there_is_no_problem() -> None:
    pods = [pod(waiting("ImagePullBackOff"))]
    assert unavailable_reason(None, pods) is None
    assert unavailable_reason(deployment(replicas=0), pods) is None
    assert scale_out_blocker(deployment(replicas=0, refusal=QUOTA), pods, started=True) is None


def test_the_message_does_not_depend_on_the_order_or_names_of_the_pods() -> None:
    pods = [pod(waiting("CreateContainerConfigError", f"m{n}"), name=f"thumbnails-new-{n}") for n in range(3)]
    renamed = [pod(waiting("CreateContainerConfigError", f"m{n}"), name=f"thumbnails-new-{9 - n}") for n in range(3)]
    expected = message(unavailable_reason(deployment(), pods))
    assert message(unavailable_reason(deployment(), pods[::-1])) == expected
    assert message(unavailable_reason(deployment(), renamed)) == expected


def test_the_message_does_not_change_between_two_attempts_to_pull_an_image() -> None:
    states = [waiting("ErrImagePull", "not found"), waiting("ImagePullBackOff", "Back-off pulling")]
    first, second = (message(unavailable_reason(deployment(), [pod(status)])) for status in states)
    assert first == second
