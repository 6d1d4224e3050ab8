"""Invariants 1 and 4 on real pods: workers come and go, and no task is cut, lost or done twice."""

from collections import Counter

from tests.e2e.team import Team


def test_workers_go_from_zero_to_n_to_zero_and_every_task_is_done_once(team: Team) -> None:
    team.apply(worker={"concurrency": 2})
    team.until_ready()
    assert not team.pods()
    tasks = Counter(team.publish(300, seconds=0.3))
    team.until_replicas(lambda replicas: replicas == 4, "all four workers are asked for")
    team.until_asleep()
    assert team.receipts("done") == tasks
    assert team.receipts("started") == tasks
    assert {name: queue["messages"] for name, queue in team.queues().items()} == {"work": 0, "work.dlq": 0}


def test_a_worker_that_is_told_to_go_finishes_its_task_first(team: Team) -> None:
    team.apply(maxReplicas=1, minReplicas=1)
    team.until_ready()
    tasks = Counter(team.publish(1, seconds=15))
    team.until(lambda: team.receipts("started") == tasks, "the task runs")
    (worker,) = team.pods()
    team.kubectl("delete", "pod", worker["metadata"]["name"])
    assert team.receipts("done") == tasks
    assert team.receipts("started") == tasks


def test_new_credentials_are_taken_up_without_a_rollout(team: Team) -> None:
    team.apply(minReplicas=1)
    team.until_ready()
    first = Counter(team.publish(5, seconds=0.1))
    team.until(lambda: team.receipts("done") == first, "the first tasks are done")
    before, workers = team.deployment(), {pod["metadata"]["uid"] for pod in team.pods()}

    team.use_credentials(f"{team.namespace}-next", "second")
    team.broker.delete_user(team.namespace)
    second = Counter(team.publish(30, seconds=0.1))
    team.until(lambda: team.receipts("done") == first + second, "all tasks are done with the new credentials")
    team.until_ready()

    after = team.deployment()
    assert before
    assert after
    assert after["spec"]["template"] == before["spec"]["template"]
    assert workers <= {pod["metadata"]["uid"] for pod in team.pods()}
    assert not [pod for pod in team.pods() if pod["status"]["containerStatuses"][0]["restartCount"]]
