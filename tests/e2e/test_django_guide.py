"""docs/guides/django-celery.md, step by step: its manifests move a Django application over, and back.

A task posts its id to `amq.fanout` when it starts, waits until the exchange of its gate exists, and posts its id to
`amq.topic` when it ends.
"""

import json
from collections import Counter
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

import pytest
import yaml

from tests.cluster import images
from tests.cluster.installation import ROOT
from tests.cluster.provider import Cluster
from tests.e2e.application import Application, celery
from tests.e2e.management_api import GATE
from tests.e2e.tenant import TIMEOUT_SECONDS, Tenant

SAMPLES: Final = ROOT / "deploy/samples/django"
QUEUE: Final = "celery"
SHOP: Final = replace(celery(QUEUE, declared=False), image="shop")
RECEIPTS: Final = {"started": "amq.fanout", "ended": "amq.topic"}
CALL: Final = "import django; django.setup(); from webhooks.tasks import deliver; [deliver.delay(*call) for call in {}]"
INSPECT: Final = (
    "import json; from shop.celery import app; print(json.dumps(app.control.inspect(timeout=60, limit={}).active()))"
)
READ: Final = "import urllib.request as r; print(r.urlopen('http://localhost:5555/api/{}').read().decode())"


@pytest.fixture
def application() -> Application:
    return SHOP


@pytest.fixture
def shop(tenant: Tenant, real_cluster: Cluster) -> "Shop":
    real_cluster.load(images.build("worker"))
    return Shop(tenant)


class Shop:
    """The application of the guide, in the namespace of a tenant."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._receipts = {what: Counter[str]() for what in RECEIPTS}
        self.published = Counter[str]()
        for what, exchange in RECEIPTS.items():
            tenant.broker.collect(tenant.namespace, exchange, what)

    def apply(self, file: str) -> None:
        """Apply the manifests of the guide, with the images of this checkout."""
        text = (SAMPLES / file).read_text()
        text = text.replace("NAMESPACE/", f"{self._tenant.namespace}/")
        for name, image in {"shop": images.tag("shop"), "taskqueue-worker": images.tag("worker")}.items():
            text = text.replace(f"image: {name}:1.4", f"image: {image}")
        for manifest in yaml.safe_load_all(text):
            self._tenant.apply_manifest(manifest)

    def publish(self, count: int, *, gate: str | None = None) -> None:
        """Publish tasks with Django, in a pod of the application; they run until the gate is open."""
        ids = [uuid4().hex for _ in range(count)]
        exchanges = [RECEIPTS["started"], *([gate] if gate else []), RECEIPTS["ended"]]
        urls = [f"{self._tenant.gate.removesuffix(GATE)}{exchange}/publish" for exchange in exchanges]
        message = {"properties": {}, "routing_key": "", "payload_encoding": "string"}
        self._run(CALL.format([(urls, message | {"payload": json.dumps(task)}) for task in ids]))
        self.published.update(ids)

    def open_gate(self, gate: str) -> None:
        """Let the tasks end that wait at this gate."""
        self._tenant.broker.open_gate(self._tenant.namespace, gate)

    def receipts(self, what: str) -> Counter[str]:
        """Count how often each task has `started` or `ended`."""
        self._receipts[what].update(self._tenant.broker.consume_all(self._tenant.namespace, what))
        return self._receipts[what]

    def running(self) -> int:
        """Count the tasks that have started and not ended."""
        ended = self.receipts("ended").total()
        return self.receipts("started").total() - ended

    def until_done(self) -> None:
        """Wait until each task has ended; none has run twice."""
        self._tenant.until(lambda: self.published.keys() <= self.receipts("ended").keys(), "all tasks have ended")
        assert self.receipts("started") == self.receipts("ended") == self.published

    def consumers(self) -> int:
        """Count the consumers of the queue, one for each worker that consumes."""
        return self._tenant.broker.consumer_count(self._tenant.namespace, QUEUE)

    def workers(self) -> set[str]:
        """Name the pods of the TaskQueue."""
        names = ("get", "pods", "--selector=taskqueue.dev/name=shop", "--output=jsonpath={.items[*].metadata.name}")
        return set(self._tenant.kubectl(*names).split())

    def flower(self, path: str) -> dict[str, Any]:
        """Read from Flower's API."""
        found: dict[str, Any] = json.loads(self._run(READ.format(path)))
        return found

    def active(self, workers: int) -> dict[str, int]:
        """Count the running tasks of each worker, as the workers themselves answer by remote control."""
        answers: dict[str, list[object]] = json.loads(self._run(INSPECT.format(workers)))
        return {name.removeprefix("celery@"): len(tasks) for name, tasks in answers.items()}

    def _run(self, code: str) -> str:
        return self._tenant.kubectl("exec", "deployment/shop-flower", "--", "python", "-c", code)


def test_a_django_application_moves_over_and_back_by_the_manifests_of_the_guide(tenant: Tenant, shop: Shop) -> None:
    shop.apply("before.yaml")
    tenant.until(lambda: shop.consumers() == 2, "the workers of the team consume")
    before = deployment_spec(tenant)

    move_over_to_workers_of_the_operator(tenant, shop)
    workers = drain_and_undrain_a_busy_worker(tenant, shop)
    reports = "tasks?taskname=webhooks.tasks.report&state=SUCCESS&workername=celery@{}"
    tenant.until(
        lambda: any(shop.flower(reports.format(worker)) for worker in workers), "beat publishes, Flower sees it"
    )
    move_back(tenant, shop)
    assert deployment_spec(tenant) == before

    move_over_with_the_deployment_of_the_team(tenant, shop)
    move_back(tenant, shop)
    assert deployment_spec(tenant) == before


def move_over_to_workers_of_the_operator(tenant: Tenant, shop: Shop) -> None:
    """Move over while all workers are busy and have prefetched tasks."""
    shop.publish(12, gate="first")
    tenant.until(lambda: shop.running() == 4, "the slots of both workers are taken")
    shop.apply("taskqueue.yaml")
    until_ready(tenant)
    tenant.until(lambda: shop.consumers() == 3, "a worker of the TaskQueue consumes too")
    tenant.kubectl("delete", "deployment/shop-worker", "--wait=false")
    shop.open_gate("first")
    shop.until_done()


def drain_and_undrain_a_busy_worker(tenant: Tenant, shop: Shop) -> set[str]:
    """Drain one of two busy workers, look at both with Celery and Flower, and undrain it; name the workers."""
    scale(tenant, minReplicas=2)
    tenant.until(lambda: shop.consumers() == len(shop.workers()) == 2, "two workers of the TaskQueue alone consume")
    workers = shop.workers()
    shop.publish(8, gate="second")
    tenant.until(lambda: shop.running() == 4, "both workers are busy")
    scale(tenant, mode="Paused", pausedReplicas=1)
    tenant.until(lambda: shop.consumers() == 1, "one of the busy workers is drained")
    assert shop.active(workers=2) == dict.fromkeys(workers, 2), "remote control of both goes on"
    online = {f"celery@{worker}": True for worker in workers}
    tenant.until(lambda: online.items() <= shop.flower("workers?status=1").items(), "Flower sees both of them")
    scale(tenant, mode="Auto", pausedReplicas=None)
    tenant.until(lambda: shop.consumers() == 2, "the drained worker is undrained")
    assert shop.workers() == workers, "no pod was started or removed"
    shop.open_gate("second")
    shop.until_done()
    return workers


def move_over_with_the_deployment_of_the_team(tenant: Tenant, shop: Shop) -> None:
    """Move over while the workers are busy; the operator then scales the same Deployment."""
    shop.publish(4, gate="third")
    tenant.until(lambda: shop.running() == 4, "both workers of the team are busy")
    shop.apply("referenced.yaml")
    until_ready(tenant)
    shop.open_gate("third")
    scale(tenant, minReplicas=2)
    tenant.until(
        lambda: shop.consumers() == len(shop.workers()) == 2, "the operator scales out the Deployment of the team"
    )
    shop.until_done()


def move_back(tenant: Tenant, shop: Shop) -> None:
    """Move back while tasks run."""
    gate = f"back-{shop.published.total()}"
    shop.publish(2, gate=gate)
    tenant.until(lambda: shop.running() == 2, "both tasks run")
    shop.apply("before.yaml")
    tenant.kubectl("delete", "taskqueue/shop", "--wait=false")
    tenant.until(lambda: shop.consumers() == 2, "only the workers of the team consume")
    shop.open_gate(gate)
    tenant.until(lambda: not shop.workers(), "the workers of the TaskQueue have ended")
    shop.publish(4)
    shop.until_done()


def until_ready(tenant: Tenant) -> None:
    """Wait as the guide does."""
    tenant.kubectl("wait", "taskqueue/shop", "--for=condition=Ready", f"--timeout={TIMEOUT_SECONDS}s")


def deployment_spec(tenant: Tenant) -> str:
    """Read what the Deployment of the team specifies."""
    return tenant.kubectl("get", "deployment/shop-worker", "--output=jsonpath={.spec}")


def scale(tenant: Tenant, **scaling: object) -> None:
    """Change fields of the scaling of the TaskQueue."""
    patch = json.dumps({"spec": {"scaling": scaling}})
    tenant.kubectl("patch", "taskqueue/shop", "--type=merge", f"--patch={patch}")
