"""The steps of the demo: install, apply one YAML file, publish 2,000 tasks, observe workers 0 -> N -> 0."""

import asyncio
import random
from typing import Any

import yaml
from rich.console import Console
from rich.syntax import Syntax

from taskqueue_worker import Publisher
from tests.cluster import images, installation
from tests.cluster.cluster_lease import BROKER
from tests.cluster.progress import step
from tests.cluster.provider import Cluster
from tests.demo import sources
from tests.demo.figures import Figures
from tests.demo.view import view

NAMESPACE = "demo"
TASKS = 2000
BATCH = 100
TIMEOUT_SECONDS = 900
SAMPLE = installation.ROOT / "deploy/samples/thumbnails.yaml"


def run_demo(cluster: Cluster, console: Console) -> Figures:
    """Install everything, publish, and wait until all tasks are done and the last worker is removed."""
    tag = images.build("sample")
    cluster.load(tag)
    uri = cluster.rabbitmq(BROKER)
    installation.install_operator(cluster)
    name = _apply_sample(cluster, uri, tag, console)
    with (
        cluster.port_forward(BROKER, "service/rabbitmq", 5672) as amqp,
        cluster.port_forward(BROKER, "service/rabbitmq", 15672) as management,
    ):
        broker = sources.Broker(
            f"amqp://guest:guest@127.0.0.1:{amqp}/", f"http://guest:guest@127.0.0.1:{management}", name
        )
        return asyncio.run(_publish_and_observe(cluster, broker, console))


def _apply_sample(cluster: Cluster, uri: str, image: str, console: Console) -> str:
    installation.create_namespace(cluster, NAMESPACE)
    installation.create_secret(cluster, NAMESPACE, uri)
    text = SAMPLE.read_text()
    console.print(Syntax(text, "yaml", background_color="default"), soft_wrap=True)
    taskqueue: dict[str, Any] = yaml.safe_load(text)
    taskqueue["spec"]["worker"]["image"] = image
    name: str = taskqueue["metadata"]["name"]
    cluster.kubectl("apply", f"--namespace={NAMESPACE}", "--filename=-", input=yaml.safe_dump(taskqueue))
    ready = ("wait", f"taskqueue/{name}", "--for=condition=Ready", "--timeout=120s")
    cluster.kubectl(*ready, f"--namespace={NAMESPACE}")
    step(f"{SAMPLE.relative_to(installation.ROOT)} applied: queue, exchange and Deployment {name} exist")
    return name


async def _publish_and_observe(cluster: Cluster, broker: sources.Broker, console: Console) -> Figures:
    figures = Figures(total=TASKS, before=await sources.counts(broker))
    async with asyncio.timeout(TIMEOUT_SECONDS), asyncio.TaskGroup() as group:
        kubectl = [*cluster.kubectl_command, f"--kubeconfig={cluster.kubeconfig}", f"--namespace={NAMESPACE}", "get"]
        watches = [
            group.create_task(sources.watch_workers(figures, kubectl, broker.queue)),
            group.create_task(sources.watch_desired(figures, kubectl, broker.queue)),
            group.create_task(sources.watch_ready(figures, broker)),
            group.create_task(sources.watch_counts(figures, broker)),
            group.create_task(view(console)(figures)),
        ]
        await _publish(figures, broker)
        await figures.until_settled()
        for watch in watches:
            watch.cancel()
    return figures


async def _publish(figures: Figures, broker: sources.Broker) -> None:
    durations = random.Random(1)
    async with Publisher(broker.amqp) as publisher:
        figures.on_first_publish()
        while figures.published < figures.total:
            batch = min(BATCH, figures.total - figures.published)
            tasks = ({"image": "cat.jpg", "seconds": round(durations.uniform(0.1, 1), 2)} for _ in range(batch))
            await asyncio.gather(
                *(publisher.publish(broker.queue, broker.queue, task, type="image.thumbnail") for task in tasks)
            )
            figures.published += batch
