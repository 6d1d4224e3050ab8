"""Several worker processes in a pod: none of them reports, so the operator never takes the pod for idle."""

from pathlib import Path

from typing_extensions import override

from tests.integration.adapters.running_application import RunningApplication, Runtime
from tests.integration.adapters.runtimes import DRAMATIQ, DRAMATIQ_COMMAND
from tests.integration.harness.fake_kubelet import FakeKubelet
from tests.integration.harness.tenant import Tenant

from .test_external_queues import CLASSIC, declare

PROCESSES = Runtime("dramatiq", (*DRAMATIQ_COMMAND, "--processes", "2"), DRAMATIQ.requirements, declares=True)
SCALING = {"maxReplicas": 1, "idleSeconds": 1, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}


class DramatiqKubelet(FakeKubelet[RunningApplication]):
    """Starts dramatiq in the pods, with the adapter and two processes."""

    @override
    def _process(self, directory: Path, uid: str, variables: dict[str, str]) -> RunningApplication:
        variables["RABBITMQ_URL"] += variables["TASKQUEUE_VHOST"]
        variables |= {"QUEUE": variables["TASKQUEUE_QUEUES"], "CONNECTION_NAME": uid}
        return RunningApplication(directory, uid, PROCESSES, variables)


def test_a_pod_with_several_processes_is_not_removed_and_the_status_says_the_way_out(
    tenant: Tenant, tmp_path: Path
) -> None:
    tenant.secret()
    declare(tenant, "jobs.dlq", CLASSIC)
    queue = {"name": "jobs", "external": True}
    tenant.taskqueue("jobs", queue=queue, scaling=SCALING | {"minReplicas": 1})
    kubelet = DramatiqKubelet(tenant, "jobs", tenant.broker, tmp_path)
    try:
        kubelet.until(lambda: tenant.condition("jobs").get("reason"), "Ready")
        kubelet.until(lambda: [worker.is_ready for worker in kubelet.running.values()], [True])
        tenant.taskqueue("jobs", queue=queue, scaling=SCALING)
        # A worker may be silent for 45 s, from when the operator first wants to remove it.
        kubelet.until(
            lambda: tenant.condition("jobs", "ScalingActive").get("reason"), "WorkersNotReporting", seconds=150
        )
        assert "that each pod runs one worker process" in tenant.condition("jobs", "ScalingActive")["message"]
        assert tenant.replicas("jobs") == 1
        (worker,) = kubelet.running.values()
        assert "start dramatiq with --processes 1" in worker.output
    finally:
        kubelet.close()
