"""How a message is settled."""

import aio_pika

from tests.integration.worker.conftest import DeclareQueue, StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.gate import Gate


async def test_a_message_is_acknowledged_only_after_its_task_is_done(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    await queue.publish(n=1, gate=str(gate))
    first = start_worker(queues=queue.name)
    await first.wait_for_ledger("started 1")
    first.kill()
    await queue.wait_for_ready(1)
    gate.open()
    second = start_worker(queues=queue.name)
    (line,) = await second.wait_for_log(event="task", status="done")
    assert line["task_id"] == "id-1"
    assert line["routing_key"] == line["queue"] == queue.name
    assert line["type"] == "work"
    assert line["redelivered"] is True
    assert line["settled"] is True
    assert line["duration_ms"] >= 0
    second.terminate()
    assert await second.exit_code() == 0
    await queue.wait_for_ready(0)
    assert await queue.ready(queue.dead_letters) == 0


async def test_an_exception_dead_letters_the_message_and_its_stack_trace_is_logged(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    await queue.publish("fail", n=7)
    worker = start_worker(queues=queue.name)
    (line,) = await worker.wait_for_log(event="task", status="failed")
    assert "LookupError: no such image: 7" in line["exception"]
    assert "ledger_tasks.py" in line["exception"]
    message = await queue.get(queue.dead_letters)
    assert message.message_id == "id-7"
    assert message.headers["x-failure-reason"] == "failed"
    assert worker.lines(event="task") == [line], "delivered once"
    assert worker.metric(f'taskqueue_worker_tasks_total{{queue="{queue.name}",status="failed",type="fail"}}') == 1


async def test_a_message_of_an_unknown_type_is_dead_lettered_and_its_type_is_no_label(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    await queue.publish("no.such.task", n=1)
    worker = start_worker(queues=queue.name)
    (line,) = await worker.wait_for_log(event="task", status="unknown_type")
    assert "'no.such.task'" in line["exception"]
    assert (await queue.get(queue.dead_letters)).type == "no.such.task"
    assert (
        worker.metric(f'taskqueue_worker_tasks_total{{queue="{queue.name}",status="unknown_type",type="unknown"}}') == 1
    )
    assert "no.such.task" not in worker.get("/metrics")[1]


async def test_the_routing_key_of_a_message_without_type_selects_the_handler(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    exchange = await queue.channel.declare_exchange(f"{queue.name}.x", "direct", durable=True)
    await (await queue.channel.get_queue(queue.name)).bind(exchange, "by.routing.key")
    await exchange.publish(aio_pika.Message(b'{"n": 3}'), "by.routing.key")
    worker = start_worker(queues=queue.name)
    await worker.wait_for_ledger("routed 3")
    await exchange.delete()


async def test_a_task_that_exceeds_its_timeout_is_cancelled_and_dead_lettered(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    await queue.publish(n=1, gate=str(gate))
    worker = start_worker(queues=queue.name, task_timeout_seconds="1")
    (line,) = await worker.wait_for_log(event="task", status="timeout")
    assert "TimeoutError" in line["exception"]
    assert worker.ledger == ["started 1", "cancelled 1"]
    assert (await queue.get(queue.dead_letters)).message_id == "id-1"


async def test_a_handler_that_calls_exit_fails_its_task_and_not_the_worker(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    await queue.publish("exit", n=1)
    await queue.publish(n=2)
    worker = start_worker(queues=queue.name)
    await worker.wait_for_log(event="task", status="failed")
    await worker.wait_for_ledger("finished 2 draining=False")
    await queue.get(queue.dead_letters)


async def test_plain_functions_run_in_parallel_threads_and_do_not_block_the_event_loop(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    for n in (1, 2):
        await queue.publish("block", n=n, gate=str(gate))
    worker = start_worker(queues=queue.name, concurrency="2")
    await worker.wait_for_ledger("started 1")
    await worker.wait_for_ledger("started 2")
    assert worker.get("/healthz")[0] == 200
    gate.open()
    await worker.wait_for_log(event="task", status="done", times=2)


async def test_every_line_that_a_handler_logs_names_its_task(start_worker: StartWorker, queue: DeclaredQueue) -> None:
    await queue.publish("log", n=1)
    await queue.publish("log.thread", n=2)
    worker = start_worker(queues=queue.name, log_level="debug")
    await worker.wait_for_log(event="logged in detail", task_id="id-1", type="log", attempt=1, level="debug")
    await worker.wait_for_log(event="logged", task_id="id-1", type="log", attempt=1, logger="application")
    await worker.wait_for_log(event="logged", task_id="id-2", type="log.thread", attempt=1)


async def test_the_concurrency_spans_all_queues_and_the_prefetch_may_be_larger(
    start_worker: StartWorker, declare_queue: DeclareQueue, gate: Gate
) -> None:
    quorum, classic = await declare_queue("quorum"), await declare_queue("classic")
    for n in range(5):
        await quorum.publish(n=n, gate=str(gate))
        await classic.publish(n=10 + n, gate=str(gate))
    worker = start_worker(queues=f"{quorum.name},{classic.name}", concurrency="2", prefetch="4")
    await eventually(
        "prefetched messages",
        lambda: worker.lines(event="listening") and worker.metric("taskqueue_worker_prefetched") == 6,
    )
    assert worker.metric("taskqueue_worker_in_flight") == 2
    assert worker.metric("taskqueue_worker_consuming") == 2
    assert len(worker.started) == 2
    assert worker.get("/readyz")[0] == 200
    gate.open()
    await worker.wait_for_log(event="task", status="done", times=10)
    assert sorted(worker.started) == sorted(f"started {n}" for n in (*range(5), *range(10, 15)))
    waits = f'taskqueue_worker_queue_wait_seconds_count{{queue="{quorum.name}",since="delivery"}}'
    assert worker.metric(waits) == 5
    assert worker.metric("ledger_lines_total") == 20


async def test_a_body_that_is_not_json_is_dead_lettered(start_worker: StartWorker, queue: DeclaredQueue) -> None:
    await queue.publish("kind", body=b"{", content_type="application/json")
    worker = start_worker(queues=queue.name)
    await worker.wait_for_log(event="task", status="invalid_payload")
    assert (await queue.get(queue.dead_letters)).body == b"{"


async def test_a_body_of_another_content_type_reaches_the_handler_as_bytes(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    await queue.publish("kind", body=b"\x89PNG", content_type="image/png")
    await queue.publish("kind", body=b"[1]", content_type="application/json; charset=utf-8")
    worker = start_worker(queues=queue.name)
    await worker.wait_for_ledger("kind list")
    assert worker.ledger == ["kind bytes", "kind list"]
