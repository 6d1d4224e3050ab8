"""Invariant 2, unknown is not zero: no fault removes a worker, and after it the operator soon scales correctly."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import pytest

from tests.cluster.three_node_broker import ThreeNodeBroker
from tests.integration.harness.eventually import eventually
from tests.integration.harness.fault_scenario import QUEUE, WORKERS, FaultScenario

pytestmark = pytest.mark.fault

LONG = 14.0
"""Seconds: longer than the nodes need to miss one, than an election, and than any sample counts."""
VARIANTS = 2 if os.environ.get("TASKQUEUE_DEEP") else 1
"""Number of variants that run; the most dangerous variant is the first."""


def test_a_killed_queue_leader_removes_no_worker(scenario: FaultScenario, three_nodes: ThreeNodeBroker) -> None:
    leader = scenario.leader(asked=0)
    with scenario.without_scale_in():
        three_nodes.nodes[leader].kill()
        scenario.leader(asked=(leader + 1) % 3, other_than=leader)
        three_nodes.nodes[leader].start()


@pytest.mark.parametrize("asked", ["a follower", "the leader"][:VARIANTS])
def test_a_frozen_queue_leader_removes_no_worker(
    scenario: FaultScenario, three_nodes: ThreeNodeBroker, asked: str
) -> None:
    leader = scenario.leader(asked=0)
    ask(three_nodes, leader if asked == "the leader" else (leader + 1) % 3)
    with scenario.without_scale_in():
        three_nodes.nodes[leader].pause()
        time.sleep(LONG)
        three_nodes.nodes[leader].resume()


def test_an_isolated_queue_leader_with_outdated_figures_removes_no_worker(
    scenario: FaultScenario, three_nodes: ThreeNodeBroker
) -> None:
    deposed = scenario.leader(asked=0)
    elsewhere = (deposed + 1) % 3
    ask(three_nodes, elsewhere)
    with scenario.without_scale_in():
        three_nodes.isolate(deposed)
        scenario.leader(asked=elsewhere, other_than=deposed)
        scenario.set_backlog(WORKERS + 5, by=elsewhere)
        ask(three_nodes, deposed)
        time.sleep(LONG)
        assert scenario.depth(by=deposed) < scenario.depth(by=elsewhere)
        three_nodes.heal(deposed)


def test_a_management_api_that_does_not_answer_removes_no_worker(
    scenario: FaultScenario, three_nodes: ThreeNodeBroker
) -> None:
    with scenario.without_scale_in():
        three_nodes.management.stall()
        time.sleep(LONG)
        scenario.set_backlog(WORKERS + 2)
        three_nodes.management.flow()


def test_disabled_statistics_remove_no_worker(scenario: FaultScenario, three_nodes: ThreeNodeBroker) -> None:
    statistics(three_nodes, collect="none", metrics_collector_disabled="true")
    try:
        with scenario.without_scale_in():
            time.sleep(LONG)
    finally:
        statistics(three_nodes, collect="coarse", metrics_collector_disabled="false")


def test_a_restarted_node_removes_no_worker(scenario: FaultScenario, three_nodes: ThreeNodeBroker) -> None:
    leader = scenario.leader(asked=0)
    ask(three_nodes, leader)
    with scenario.without_scale_in():
        three_nodes.nodes[leader].stop()
        three_nodes.nodes[leader].start()


def test_connections_cut_in_the_middle_of_an_answer_remove_no_worker(
    scenario: FaultScenario, three_nodes: ThreeNodeBroker
) -> None:
    with scenario.without_scale_in():
        for after in (20, 350, 600, 900):
            for proxy in three_nodes.proxies:
                proxy.cut(after=after)
            time.sleep(LONG / 4)
        for proxy in three_nodes.proxies:
            proxy.mend()
    assert all(proxy.cuts for proxy in three_nodes.proxies)


def test_a_broker_outage_removes_no_worker_and_is_one_change_of_the_condition(
    scenario: FaultScenario, three_nodes: ThreeNodeBroker
) -> None:
    reachable = partial(scenario.condition, QUEUE, "BrokerReachable")
    with scenario.without_scale_in():
        for node in three_nodes.nodes:
            node.kill()
        # The management API may be missed first.
        eventually(lambda: reachable().get("reason"), "BrokerUnreachable")
        gone = reachable()
        assert str(three_nodes.amqp.port) in gone["message"]
        time.sleep(LONG)
        assert reachable()["lastTransitionTime"] == gone["lastTransitionTime"]
        assert scenario.replicas(QUEUE) == WORKERS
        three_nodes.start_missing()
        eventually(lambda: reachable().get("status"), "True")
    assert reachable()["lastTransitionTime"] > gone["lastTransitionTime"]


def test_writes_without_a_majority_leave_the_topology_unknown_and_not_refused(
    scenario: FaultScenario, three_nodes: ThreeNodeBroker
) -> None:
    """The node alone still answers reads: RabbitMQ stores metadata on a majority of its nodes."""
    ask(three_nodes, 0)
    three_nodes.isolate(0)
    late = f"late-{uuid4().hex[:6]}"  # a queue that exists would need no write
    scenario.taskqueue(late, scaling={"mode": "Paused", "maxReplicas": 1})
    eventually(lambda: "majority" in scenario.condition(late, "BrokerReachable").get("message", ""))
    assert scenario.condition(late, "TopologyReady")["status"] == "Unknown"
    three_nodes.heal(0)
    eventually(lambda: scenario.condition(late).get("status"), "True")
    scenario.kubectl("delete", "taskqueue", late, "--wait=false")


def ask(three_nodes: ThreeNodeBroker, number: int) -> None:
    """Connect the operator to this node only."""
    for proxy in three_nodes.proxies:
        proxy.pin(number)


def statistics(three_nodes: ThreeNodeBroker, *, collect: str, metrics_collector_disabled: str) -> None:
    """Change the settings of statistics on all running nodes."""
    settings = (
        f"application:set_env(rabbit, collect_statistics, {collect}),"
        f"application:set_env(rabbitmq_management_agent, disable_metrics_collector, {metrics_collector_disabled})."
    )
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: node.ctl("eval", settings), three_nodes.nodes))
