"""Counters count, gauges show what is there now, and a TaskQueue that is gone leaves no series."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from taskqueue_operator.app.collectors import PART, ControllerCollector, LeadershipCollector, NamespacesCollector
from taskqueue_operator.app.exposition import write_page
from taskqueue_operator.app.metrics import Metrics
from taskqueue_operator.control.clock import loop_clock
from taskqueue_operator.control.controller import Controller
from taskqueue_operator.control.leader_election import Leadership
from taskqueue_operator.control.scale.leader import Leader
from taskqueue_operator.resource.names import Key
from tests.unit.control.competing_leaders import LeaseConnection, LeaseServer
from tests.unit.control.fake_broker import FORBIDDEN, START, FakeBrokers
from tests.unit.control.fake_cluster import API_UNREACHABLE, KEY, FakeCluster, taskqueue

pytestmark = pytest.mark.looptime

OPERATIONS = Path(__file__).parents[3] / "docs/operations.md"
FORBIDDEN_UNITS = re.compile(r"_(milliseconds|ms|minutes|hours|days|kilobytes|megabytes|percent)(_|$)")


@dataclass
class World:
    """The loop between a fake cluster and fake brokers, and what is scraped of it."""

    cluster: FakeCluster
    brokers: FakeBrokers
    control: Controller
    metrics: Metrics
    leadership: Leadership

    def scrape(self) -> dict[str, Metric]:
        text = generate_latest(self.metrics.registry).decode()
        return {family.name: family for family in text_string_to_metric_families(text)}

    def gauges(self, key: Key = KEY) -> dict[str, float]:
        """Return the gauges of one TaskQueue, by their names without the prefix."""
        samples = [sample for family in self.scrape().values() for sample in family.samples]
        return {
            sample.name.removeprefix("taskqueue_"): sample.value for sample in samples if sample.labels == key._asdict()
        }

    def count(self, metric: str, /, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"taskqueue_{metric}", labels)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    cluster, metrics, clock = FakeCluster(), Metrics(), loop_clock(START)
    brokers = FakeBrokers(clock)
    control = Controller(cluster, brokers, metrics, clock, Leader("default", 1))
    metrics.registry.register(ControllerCollector(control, clock))
    metrics.registry.register(NamespacesCollector(cluster))
    leadership = Leadership(LeaseConnection(LeaseServer()), "pod-1", clock, asyncio.get_running_loop().time)
    metrics.registry.register(LeadershipCollector(leadership))
    notes = {"taskqueues": control.on_taskqueue, "deployments": control.on_deployment, "pods": control.on_pod}
    cluster.watches.append(lambda kind, body, gone: notes[kind](body, deleted=gone))
    running = asyncio.create_task(control.run())
    yield World(cluster, brokers, control, metrics, leadership)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_gauges_show_the_current_state_and_disappear_with_their_taskqueue(world: World) -> None:
    world.cluster.put(taskqueue())
    world.brokers.broker.depths[KEY.name] = (45, 5)
    await asyncio.sleep(6.5)
    world.cluster.run_pods(KEY, 2)
    gauges = world.gauges()
    assert 0 < gauges.pop("reading_age_seconds") <= 1
    assert gauges == {
        "queue_messages_ready": 45,
        "queue_messages_unacked": 5,
        "queue_messages_delayed": 0,
        "parked_messages": 0,
        "dead_letters": 0,
        "desired_replicas": 3,
        "replicas": 3,
        "ready_replicas": 2,
    }
    world.cluster.remove("taskqueues", KEY)
    await asyncio.sleep(10)
    assert world.gauges() == {}


@pytest.mark.slow
async def test_an_unknown_depth_has_no_value_and_its_age_increases(world: World) -> None:
    world.cluster.put(taskqueue())
    await asyncio.sleep(5)
    world.brokers.broker.refused[KEY.name] = FORBIDDEN
    await asyncio.sleep(60)
    gauges = world.gauges()
    assert gauges["reading_age_seconds"] == pytest.approx(60, abs=1)
    assert "queue_messages_ready" not in gauges


async def test_the_age_of_a_queue_that_was_never_read_is_infinite(world: World) -> None:
    world.cluster.secrets.clear()
    world.cluster.put(taskqueue())
    unfit = Key("media", "unfit")
    world.cluster.put(taskqueue(unfit, scaling={"maxReplicas": "many"}))
    await asyncio.sleep(5)
    for key in (KEY, unfit):
        assert world.gauges(key)["reading_age_seconds"] == float("inf")


async def test_observers_and_work_queues_are_counted(world: World) -> None:
    assert world.count("broker_readers") == 0
    world.cluster.put(taskqueue())
    await asyncio.sleep(5)
    assert world.count("broker_readers") == 1
    world.control.work_queues.reconcile.add(KEY, delay=10)
    assert world.count("workqueue_depth", name="reconcile") == 1


async def test_the_leader_exposes_its_leadership_and_epoch(world: World) -> None:
    assert (world.count("leader"), world.count("leader_epoch")) == (0, 0)
    assert await world.leadership.acquire(asyncio.Event())
    assert (world.count("leader"), world.count("leader_epoch")) == (1, world.leadership.epoch)
    await asyncio.sleep(10)
    assert world.count("leader") == 0


def test_the_work_of_the_controller_is_counted_without_a_label_per_taskqueue() -> None:
    metrics = Metrics()
    _everything(metrics)
    text = generate_latest(metrics.registry).decode()
    for line in (
        'taskqueue_scale_operations_total{direction="out",reason="Backlog"} 1.0',
        'taskqueue_scale_operations_total{direction="in",reason="Idle"} 1.0',
        'taskqueue_writes_total{what="status"} 1.0',
        'taskqueue_reconciles_total{result="error"} 1.0',
        "taskqueue_retained_topologies_total 1.0",
        'taskqueue_readings_total{outcome="ok",source="probe"} 40.0',
        'taskqueue_readings_total{outcome="missing",source="probe"} 2.0',
        'taskqueue_reading_seconds_bucket{le="0.025",source="probe"} 1.0',
        'taskqueue_reading_seconds_bucket{le="0.01",source="probe"} 0.0',
        'taskqueue_decisions_total{reason="Backlog"} 1.0',
        'taskqueue_decision_lateness_seconds_bucket{le="0.06"} 0.0',
        'taskqueue_decision_lateness_seconds_bucket{le="0.075"} 1.0',
    ):
        assert line in text.splitlines()
    assert KEY.name not in text


@pytest.mark.parametrize("limit", ["0.075", "0.15", "0.2"])
def test_each_promised_limit_of_lateness_is_a_bucket(limit: str) -> None:
    metrics = Metrics()
    metrics.delayed(float(limit))
    assert metrics.registry.get_sample_value("taskqueue_decision_lateness_seconds_bucket", {"le": limit}) == 1


async def test_every_condition_is_a_metric_also_before_it_is_written(world: World) -> None:
    def conditions() -> set[tuple[str, str, str]]:
        samples = world.scrape()["taskqueue_condition"].samples
        assert all((sample.labels["name"], sample.value) == (KEY.name, 1) for sample in samples)
        return {(sample.labels["type"], sample.labels["status"], sample.labels["reason"]) for sample in samples}

    world.cluster.put(taskqueue())
    await asyncio.sleep(6.5)
    assert {("Ready", "True", "Ready"), ("BrokerReachable", "True", "Connected")} <= conditions()
    world.cluster.fault = API_UNREACHABLE
    world.brokers.broker.refused[KEY.name] = FORBIDDEN
    await asyncio.sleep(6.5)
    assert {("Ready", "False", "PermissionDenied"), ("Stalled", "True", "PermissionDenied")} <= conditions()
    world.cluster.fault = None
    world.cluster.remove("taskqueues", KEY)
    await asyncio.sleep(1)
    assert conditions() == set()


async def test_the_page_shows_each_family_once_also_if_it_was_written_in_parts(world: World) -> None:
    keys = {Key("media", f"queue-{number}") for number in range(PART + 1)}
    for key in keys:
        world.cluster.put(taskqueue(key))
    await asyncio.sleep(6.5)
    page = (await write_page(world.metrics.registry)).decode()
    comments = [line for line in page.splitlines() if line.startswith("#")]
    assert len(comments) == len(set(comments))
    named = {key for key in keys if f'taskqueue_replicas{{name="{key.name}",namespace="media"}} 0.0\n' in page}
    assert named == keys


async def test_names_follow_the_conventions_of_prometheus(world: World) -> None:
    for name, family in world.scrape().items():
        assert re.fullmatch("taskqueue(_[a-z]+)+", name)
        assert family.documentation.endswith("."), f"{name}: {family.documentation!r}"
        assert family.type in {"counter", "gauge", "histogram"}
        assert not FORBIDDEN_UNITS.search(name), "base units only"
        assert not re.search("_(total|count|sum|bucket|counter|gauge|histogram|info)$", name), "kept for types"
        assert family.type != "histogram" or name.endswith("_seconds")


async def test_every_metric_is_documented_with_its_type_and_labels_and_nothing_else_is(world: World) -> None:
    world.cluster.put(taskqueue())
    world.brokers.broker.depths[KEY.name] = (45, 5)
    await asyncio.sleep(6.5)
    _everything(world.metrics)
    exposed = {}
    for name, family in world.scrape().items():
        labels = set().union(*(sample.labels for sample in family.samples)) - {"le"}
        exposed[f"{name}_total" if family.type == "counter" else name] = (family.type, labels)
    rows = re.findall(r"^\| `(taskqueue_\w+)` \| (\w+) \| (.*?) \| .+ \|$", OPERATIONS.read_text(), re.MULTILINE)
    assert {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows} == exposed


async def test_documents_name_only_series_that_exist(world: World) -> None:
    world.cluster.put(taskqueue())
    world.brokers.broker.depths[KEY.name] = (45, 5)
    await asyncio.sleep(6.5)
    _everything(world.metrics)
    series = {sample.name for family in world.scrape().values() for sample in family.samples}
    families = {name for name, family in world.scrape().items() if family.type == "histogram"}
    for document in OPERATIONS.parent.glob("**/*.md"):
        named = set(re.findall(r"\btaskqueue_(?!operator|worker|drain\b)[a-z_]+\b", document.read_text()))
        assert named <= series | families, document


def _everything(metrics: Metrics) -> None:
    """Do once what can be counted."""
    metrics.scaled(KEY, 0, 5, "Backlog")
    metrics.scaled(KEY, 5, 0, "Idle")
    metrics.wrote("status")
    metrics.commanded("drain")
    metrics.removed("drained")
    metrics.reconciled(succeeded=False)
    metrics.retained(KEY, "Secret gone")
    metrics.queried("probe", 0.02, {"ok": 40, "missing": 2})
    metrics.delayed(0.07)
    metrics.decided("Backlog")
