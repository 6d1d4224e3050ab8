"""What becomes of a message."""

import aio_pika

from tests.integration.worker.conftest import MakeWork, StartWorker
from tests.integration.worker.running import Gate, Work, eventually


async def test_a_task_is_acknowledged_after_it_is_done_and_not_before(
    start: StartWorker, work: Work, gate: Gate
) -> None:
    await work.put(n=1, gate=str(gate))
    first = start(queues=work.name)
    await first.wrote("started 1")
    first.kill()
    await work.has_ready(1)
    gate.open()
    second = start(queues=work.name)
    (line,) = await second.logged(event="task", status="done")
    assert line["task_id"] == "id-1"
    assert line["routing_key"] == line["queue"] == work.name
    assert line["type"] == "work"
    assert line["redelivered"] is True
    assert line["settled"] is True
    assert line["duration_ms"] >= 0
    second.terminate()
    assert await second.exit_code() == 0
    await work.has_ready(0)
    assert await work.ready(work.dead) == 0


async def test_an_exception_sends_the_message_to_the_dead_letter_queue_with_its_trace_in_the_log(
    start: StartWorker, work: Work
) -> None:
    await work.put("fail", n=7)
    worker = start(queues=work.name)
    (line,) = await worker.logged(event="task", status="failed")
    assert "LookupError: no such image: 7" in line["exception"]
    assert "ledger_tasks.py" in line["exception"]
    message = await work.take(work.dead)
    assert message.message_id == "id-7"
    assert message.headers["x-first-death-reason"] == "rejected"
    assert worker.lines(event="task") == [line], "handed out once"
    assert worker.metric(f'taskqueue_worker_tasks_total{{queue="{work.name}",status="failed",type="fail"}}') == 1


async def test_an_unknown_type_goes_to_the_dead_letter_queue_and_makes_no_label(start: StartWorker, work: Work) -> None:
    await work.put("no.such.task", n=1)
    worker = start(queues=work.name)
    (line,) = await worker.logged(event="task", status="unknown_type")
    assert "No handler for task type 'no.such.task'" in line["exception"]
    assert (await work.take(work.dead)).type == "no.such.task"
    assert (
        worker.metric(f'taskqueue_worker_tasks_total{{queue="{work.name}",status="unknown_type",type="unknown"}}') == 1
    )
    assert "no.such.task" not in worker.get("/metrics")[1]


async def test_without_a_type_the_routing_key_chooses_the_handler(start: StartWorker, work: Work) -> None:
    exchange = await work.channel.declare_exchange(f"{work.name}.x", "direct", durable=True)
    queue = await work.channel.get_queue(work.name)
    await queue.bind(exchange, "by.routing.key")
    await exchange.publish(aio_pika.Message(b'{"n": 3}'), "by.routing.key")
    worker = start(queues=work.name)
    await worker.wrote("routed 3")
    await exchange.delete()


async def test_a_task_over_its_time_is_cancelled_and_dead_lettered(start: StartWorker, work: Work, gate: Gate) -> None:
    await work.put(n=1, gate=str(gate))
    worker = start(queues=work.name, task_timeout_seconds="1")
    (line,) = await worker.logged(event="task", status="timeout")
    assert "ran longer than 1 s" in line["exception"]
    assert worker.ledger == ["started 1", "cancelled 1"]
    assert (await work.take(work.dead)).message_id == "id-1"


async def test_a_handler_that_exits_fails_its_task_and_not_the_worker(start: StartWorker, work: Work) -> None:
    await work.put("leave", n=1)
    await work.put(n=2)
    worker = start(queues=work.name)
    await worker.logged(event="task", status="failed")
    await worker.wrote("finished 2 draining=False")
    await work.take(work.dead)


async def test_plain_functions_run_in_threads_at_once_and_leave_the_event_loop_free(
    start: StartWorker, work: Work, gate: Gate
) -> None:
    for n in (1, 2):
        await work.put("block", n=n, gate=str(gate))
    worker = start(queues=work.name, concurrency="2")
    await worker.wrote("started 1")
    await worker.wrote("started 2")
    assert worker.get("/healthz") == (200, "ok\n")
    gate.open()
    await worker.logged(event="task", status="done", times=2)


async def test_a_function_that_overstays_its_time_is_dead_lettered_and_keeps_its_slot(
    start: StartWorker, work: Work, gate: Gate
) -> None:
    await work.put("block", n=1, gate=str(gate))
    await work.put("work", n=2)
    worker = start(queues=work.name, task_timeout_seconds="1", prefetch="2")
    await worker.logged(event="task", status="timeout")
    assert worker.metric("taskqueue_worker_in_flight") == 1
    assert worker.metric("taskqueue_worker_prefetched") == 1
    assert worker.ledger == ["started 1"]
    gate.open()
    await worker.wrote("finished 2 draining=False")


async def test_concurrency_holds_over_all_queues_and_prefetch_may_be_larger(
    start: StartWorker, make_work: MakeWork, gate: Gate
) -> None:
    one, two = await make_work("quorum"), await make_work("classic")
    for n in range(5):
        await one.put(n=n, gate=str(gate))
        await two.put(n=10 + n, gate=str(gate))
    worker = start(queues=f"{one.name},{two.name}", concurrency="2", prefetch="4")
    await eventually(
        "hoard", lambda: worker.lines(event="listening") and worker.metric("taskqueue_worker_prefetched") == 6
    )
    assert worker.metric("taskqueue_worker_in_flight") == 2
    assert worker.metric("taskqueue_worker_consuming") == 2
    assert len(worker.ledger) == 2
    assert worker.get("/readyz")[0] == 200
    gate.open()
    await worker.logged(event="task", status="done", times=10)
    assert sorted(line for line in worker.ledger if line.startswith("started")) == sorted(
        f"started {n}" for n in (*range(5), *range(10, 15))
    )


async def test_a_body_that_should_be_json_and_is_not_is_dead_lettered(start: StartWorker, work: Work) -> None:
    await work.put("kind", body=b"{", content_type="application/json")
    worker = start(queues=work.name)
    await worker.logged(event="task", status="invalid_payload")
    assert (await work.take(work.dead)).body == b"{"


async def test_a_body_of_another_content_type_reaches_the_handler_as_bytes(start: StartWorker, work: Work) -> None:
    await work.put("kind", body=b"\x89PNG", content_type="image/png")
    await work.put("kind", body=b"[1]", content_type="application/json; charset=utf-8")
    worker = start(queues=work.name)
    await worker.wrote("kind list")
    assert worker.ledger == ["kind bytes", "kind list"]
