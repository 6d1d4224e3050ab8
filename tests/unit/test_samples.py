"""The samples are what people copy: they must fit the models."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from taskqueue_operator.resource.taskqueue import TaskQueue

SAMPLES = sorted((Path(__file__).parents[2] / "deploy/samples").glob("*.yaml"))
TEN_LINES = """\
apiVersion: taskqueue.dev/v1alpha1
kind: TaskQueue
metadata: {name: thumbnails}
spec:
  broker: {secretRef: {name: rabbitmq}}
  worker: {image: ghcr.io/acme/thumbnails:1.4}
  scaling: {maxReplicas: 20}
"""


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_sample_parses_and_is_spelt_as_the_models_spell_it(path: Path) -> None:
    for document in documents(path):
        identity = {"namespace": "default", "uid": "uid", "resourceVersion": "1"}
        parsed = TaskQueue.parse({**document, "metadata": identity | document["metadata"]})
        written = parsed.spec.model_dump(by_alias=True, exclude_unset=True, mode="json")
        assert written == document["spec"]


def test_the_minimal_sample_is_the_one_of_the_design() -> None:
    (path,) = [path for path in SAMPLES if path.name == "minimal.yaml"]
    assert path.read_text() == TEN_LINES
