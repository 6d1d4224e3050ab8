"""The manifests of the guides fit the models, and the two of the guide for KEDA say the same."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.workers.deployment import deployment

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "deploy/samples/django"
KEDA = (ROOT / "docs/guides/keda.md").read_text()

Body = dict[str, Any]


def blocks(page: str) -> list[Body]:
    return [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)]


def parse(manifest: Body) -> TaskQueue:
    identity = {"namespace": "default", "uid": "uid", "resourceVersion": "1"}
    return TaskQueue.parse({**manifest, "metadata": identity | manifest["metadata"]})


@pytest.mark.parametrize("manifest", [blocks(KEDA)[1], yaml.safe_load((SAMPLES / "taskqueue.yaml").read_text())])
def test_a_manifest_is_spelt_as_the_models_spell_it(manifest: Body) -> None:
    assert parse(manifest).spec.model_dump(by_alias=True, exclude_unset=True, mode="json") == manifest["spec"]


def test_the_scaled_object_and_the_taskqueue_of_the_guide_for_keda_say_the_same() -> None:
    scaled_object, taskqueue = (manifest["spec"] for manifest in blocks(KEDA))
    rabbitmq, cron = (trigger["metadata"] for trigger in scaled_object["triggers"])
    (office,) = (trigger["name"] for trigger in scaled_object["triggers"] if trigger["type"] == "cron")
    fallback = scaled_object["fallback"]
    assert taskqueue["queue"]["name"] == rabbitmq["queueName"]
    assert taskqueue["scaling"] == {
        "idleSeconds": scaled_object["cooldownPeriod"],
        "minReplicas": scaled_object["minReplicaCount"],
        "maxReplicas": scaled_object["maxReplicaCount"],
        "fallback": {
            "afterSeconds": fallback["failureThreshold"] * scaled_object.get("pollingInterval", 30),
            "replicas": fallback["replicas"],
            "behavior": {"currentReplicasIfHigher": "AtLeast"}[fallback["behavior"]],
        },
        "behavior": scaled_object["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
        "readyPerReplica": int(rabbitmq["value"]),
        "activationReady": int(rabbitmq["activationValue"]),
        "schedules": [
            {
                "name": office,
                "timeZone": cron["timezone"],
                "start": cron["start"],
                "end": cron["end"],
                "minReplicas": int(cron["desiredReplicas"]),
            }
        ],
    }


def test_the_workers_of_the_guide_for_django_are_those_of_the_team_with_the_adapter() -> None:
    team = next(yaml.safe_load_all((SAMPLES / "before.yaml").read_text()))["spec"]["template"]["spec"]
    taskqueue = parse(yaml.safe_load((SAMPLES / "taskqueue.yaml").read_text()))
    ours = deployment(taskqueue, replicas=1)["spec"]["template"]["spec"]
    before, after = team["containers"][0], ours["containers"][0]
    assert after["image"] == before["image"]
    assert after["command"] == [*before["command"], "-I", "taskqueue_drain.celery"]
    assert [variable for variable in before["env"] if variable not in after["env"]] == []
    assert ours["terminationGracePeriodSeconds"] == team["terminationGracePeriodSeconds"]
