"""Invariant 2, unknown is not zero: whatever breaks, no worker is taken away, and soon after the operator is right."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.cluster.trio import Trio
from tests.integration.control.stage import eventually

from .scene import QUEUE, WORKERS, Scene

pytestmark = pytest.mark.fault

LONG = 14.0
"""Seconds: longer than the nodes need to miss one, than an election, and than any sample counts."""
VARIANTS = 2 if os.environ.get("TASKQUEUE_DEEP") else 1
"""How many ways of asking are tried, the one that tempts most first."""


def test_a_leader_that_is_killed(scene: Scene, trio: Trio) -> None:
    leader = scene.leader(asked=0)
    with scene.unharmed():
        trio.nodes[leader].kill()
        scene.leader(asked=(leader + 1) % 3, other_than=leader)
        trio.nodes[leader].start()


@pytest.mark.parametrize("asked", ["a follower", "the leader"][:VARIANTS])
def test_a_leader_that_is_frozen(scene: Scene, trio: Trio, asked: str) -> None:
    leader = scene.leader(asked=0)
    ask(trio, leader if asked == "the leader" else (leader + 1) % 3)
    with scene.unharmed():
        trio.nodes[leader].pause()
        time.sleep(LONG)
        trio.nodes[leader].resume()


def test_a_leader_that_is_cut_off_and_goes_on_answering_with_old_figures(scene: Scene, trio: Trio) -> None:
    deposed = scene.leader(asked=0)
    elsewhere = (deposed + 1) % 3
    ask(trio, elsewhere)
    with scene.unharmed():
        trio.isolate(deposed)
        scene.leader(asked=elsewhere, other_than=deposed)
        scene.level(WORKERS + 5, by=elsewhere)
        ask(trio, deposed)
        time.sleep(LONG)
        assert scene.depth(by=deposed) < scene.depth(by=elsewhere)
        trio.heal(deposed)


def test_a_management_api_that_keeps_silent(scene: Scene, trio: Trio) -> None:
    with scene.unharmed():
        trio.management.stall()
        time.sleep(LONG)
        scene.level(WORKERS + 2)
        trio.management.flow()


def test_statistics_that_are_switched_off(scene: Scene, trio: Trio) -> None:
    statistics(trio, collect="none", metrics_collector_disabled="true")
    try:
        with scene.unharmed():
            time.sleep(LONG)
    finally:
        statistics(trio, collect="coarse", metrics_collector_disabled="false")


def test_a_node_that_is_restarted(scene: Scene, trio: Trio) -> None:
    leader = scene.leader(asked=0)
    ask(trio, leader)
    with scene.unharmed():
        trio.nodes[leader].stop()
        trio.nodes[leader].start()


def test_connections_that_are_cut_in_the_middle_of_an_answer(scene: Scene, trio: Trio) -> None:
    with scene.unharmed():
        for after in (20, 350, 600, 900):
            for front in trio.fronts:
                front.cut(after=after)
            time.sleep(LONG / 4)
        for front in trio.fronts:
            front.mend()
    assert all(front.cuts for front in trio.fronts)


def test_a_broker_that_is_gone_and_comes_back(scene: Scene, trio: Trio) -> None:
    reachable = partial(scene.condition, QUEUE, "BrokerReachable")
    with scene.unharmed():
        for node in trio.nodes:
            node.kill()
        # The management API may be missed first.
        eventually(lambda: reachable().get("reason"), "BrokerUnreachable")
        gone = reachable()
        assert str(trio.amqp.port) in gone["message"]
        time.sleep(LONG)
        assert reachable()["lastTransitionTime"] == gone["lastTransitionTime"]
        assert scene.replicas(QUEUE) == WORKERS
        trio.start_missing()
        eventually(lambda: reachable().get("status"), "True")
    assert reachable()["lastTransitionTime"] > gone["lastTransitionTime"]


def ask(trio: Trio, number: int) -> None:
    """Have the operator speak to this node and no other."""
    for front in trio.fronts:
        front.pin(number)


def statistics(trio: Trio, *, collect: str, metrics_collector_disabled: str) -> None:
    """Set on all nodes what a configuration file would set at their start."""
    settings = (
        f"application:set_env(rabbit, collect_statistics, {collect}),"
        f"application:set_env(rabbitmq_management_agent, disable_metrics_collector, {metrics_collector_disabled})."
    )
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: node.ctl("eval", settings), trio.nodes))
