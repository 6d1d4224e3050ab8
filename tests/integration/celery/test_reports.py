"""What a Celery worker counts."""

from tests.integration.celery.conftest import StartCelery, send
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import FakeOperator

ENDS = ("done", "failed", "ignored", "rejected", "retried", "worker_lost")


async def test_a_worker_knows_how_its_tasks_ended(
    start_celery: StartCelery, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    worker = start_celery()
    await operator.wait_for_report(state="consuming")
    for how in ENDS:
        await send(queue, "ends", how=how)
    await send(queue, "overtime")

    async def has_counted() -> bool:
        report = await operator.done("report")
        return (report["completed"], report["failed"]) == (3, 4)

    await eventually("all counted", has_counted)
    report = await operator.done("report")
    assert (report["in_flight"], report["prefetched"]) == (0, 0)
    assert 1 < report["busy_seconds"] < 60
    assert 0 < report["idle_seconds"] < 60
    assert not worker.has_ended
    page = worker.page("/metrics")
    for how in ENDS:
        assert f'taskqueue_worker_tasks_total{{type="ends",status="{how}"}}' in page
    assert 'taskqueue_worker_tasks_total{type="overtime",status="timeout"} 1' in page
