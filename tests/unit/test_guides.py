"""The manifests of the guides fit the models and one another."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.workers.api_objects import Deployment
from taskqueue_operator.workers.deployment import deployment
from taskqueue_operator.workers.referenced import environment_missing, not_scaled, unsafe

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "deploy/samples/django"

Body = dict[str, Any]


def blocks(page: str) -> list[Body]:
    """Read the manifests of a guide."""
    text = (ROOT / "docs/guides" / page).read_text()
    return [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]


def sample(file: str) -> list[Body]:
    """Read the manifests of a sample, in namespace default."""
    return list(yaml.safe_load_all((SAMPLES / file).read_text().replace("NAMESPACE/", "default/")))


SCALED_OBJECT, KEDA = blocks("keda.md")
CHART_VALUES, AIRFLOW = blocks("airflow.md")
(OWN,) = sample("taskqueue.yaml")
REFERENCED_DEPLOYMENT, REFERENCING = sample("referenced.yaml")
TEAM = sample("before.yaml")[0]


def identified(manifest: Body) -> Body:
    return {
        **manifest,
        "metadata": {"namespace": "default", "uid": "uid", "resourceVersion": "1"} | manifest["metadata"],
    }


def parse(manifest: Body) -> TaskQueue:
    return TaskQueue.parse(identified(manifest))


@pytest.mark.parametrize("manifest", [KEDA, AIRFLOW, OWN, REFERENCING], ids=["keda", "airflow", "own", "referencing"])
def test_a_manifest_is_spelt_as_the_models_spell_it(manifest: Body) -> None:
    assert parse(manifest).spec.model_dump(by_alias=True, exclude_unset=True, mode="json") == manifest["spec"]


def test_the_scaled_object_and_the_taskqueue_say_the_same() -> None:
    spec = SCALED_OBJECT["spec"]
    rabbitmq, cron = (trigger["metadata"] for trigger in spec["triggers"])
    fallback = spec["fallback"]
    assert KEDA["spec"]["worker"]["deploymentRef"] == spec["scaleTargetRef"]
    assert KEDA["spec"]["queue"]["name"] == rabbitmq["queueName"]
    assert KEDA["spec"]["scaling"] == {
        "idleSeconds": spec["cooldownPeriod"],
        "minReplicas": spec["minReplicaCount"],
        "maxReplicas": spec["maxReplicaCount"],
        "fallback": {
            "afterSeconds": fallback["failureThreshold"] * spec.get("pollingInterval", 30),
            "replicas": fallback["replicas"],
            "behavior": {"currentReplicasIfHigher": "AtLeast"}[fallback["behavior"]],
        },
        "behavior": spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
        "readyPerReplica": int(rabbitmq["value"]),
        "activationReady": int(rabbitmq["activationValue"]),
        "schedules": [
            {
                "name": spec["triggers"][1]["name"],
                "timeZone": cron["timezone"],
                "start": cron["start"],
                "end": cron["end"],
                "minReplicas": int(cron["desiredReplicas"]),
            }
        ],
    }


@pytest.mark.parametrize(
    "after", [deployment(parse(OWN), replicas=1), REFERENCED_DEPLOYMENT], ids=["own", "referenced"]
)
def test_the_workers_of_the_django_application_are_those_of_the_team_with_the_adapter(after: Body) -> None:
    before_pod, after_pod = (manifest["spec"]["template"]["spec"] for manifest in (TEAM, after))
    before, after = before_pod["containers"][0], after_pod["containers"][0]
    assert after["image"] == before["image"]
    assert after["command"] == [*before["command"], "-I", "taskqueue_drain.celery"]
    assert [variable for variable in before["env"] if variable not in after["env"]] == []
    assert after_pod["terminationGracePeriodSeconds"] == before_pod["terminationGracePeriodSeconds"]


def test_the_deployment_of_the_django_team_lacks_nothing() -> None:
    taskqueue, referenced = parse(REFERENCING), Deployment.parse(identified(REFERENCED_DEPLOYMENT))
    assert not_scaled(taskqueue, referenced) is None
    assert environment_missing(taskqueue, referenced) is None
    assert unsafe(taskqueue, referenced) is None


def test_the_values_of_airflows_chart_have_what_the_operator_needs() -> None:
    workers = CHART_VALUES["workers"]
    env = yaml.safe_load(yaml.safe_dump(workers["env"]).replace("NAMESPACE/", "default/"))
    pod = {"containers": [{"name": "worker", "env": env}]}
    chart = {
        "metadata": {"name": "airflow-worker", "labels": workers["labels"]},
        "spec": {"template": {"metadata": {"labels": workers["labels"]}, "spec": pod}},
    }
    taskqueue, referenced = parse(AIRFLOW), Deployment.parse(identified(chart))
    assert not_scaled(taskqueue, referenced) is None
    assert environment_missing(taskqueue, referenced) is None
