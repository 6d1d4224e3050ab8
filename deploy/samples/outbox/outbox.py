"""An outbox in PostgreSQL: a task is stored in the transaction of its cause, and published after the commit.

`add` belongs to the application. This script is the relay; several may run at once (docs/publishing.md#outbox).
"""

import os
import time

import psycopg
from psycopg.types.json import Jsonb

from taskqueue_worker import PublishFailedError, SyncPublisher, UnroutableError

TABLE = """
CREATE TABLE IF NOT EXISTS outbox (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    type text NOT NULL,
    payload jsonb NOT NULL,
    due_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS outbox_due_at ON outbox (due_at);
"""
DUE = "SELECT id, type, payload FROM outbox WHERE due_at <= now() ORDER BY due_at LIMIT 100 FOR UPDATE SKIP LOCKED"
DONE = "DELETE FROM outbox WHERE id = %s"
POSTPONE = "UPDATE outbox SET due_at = now() + interval '1 minute' WHERE id = %s"
EXCHANGE = os.environ.get("EXCHANGE", "thumbnails")


def add(connection: psycopg.Connection, type: str, payload: object) -> None:  # noqa: A002 - the AMQP property
    """Store a task, in the transaction of the caller."""
    connection.execute("INSERT INTO outbox (type, payload) VALUES (%s, %s)", (type, Jsonb(payload)))


def relay(connection: psycopg.Connection, publisher: SyncPublisher) -> int:
    """Publish the tasks that are due; return their number.

    A task is deleted after its queue has confirmed it. If the relay ends between the two, the task is published again
    with the same message_id.
    """
    with connection.transaction():
        due = connection.execute(DUE).fetchall()
        for task_id, task_type, payload in due:
            try:
                publisher.publish(EXCHANGE, EXCHANGE, payload, type=task_type, message_id=str(task_id))
            except (UnroutableError, ValueError) as error:
                print(f"task {task_id} waits: {error}", flush=True)  # noqa: T201 - the log of the relay
                connection.execute(POSTPONE, (task_id,))
            else:
                connection.execute(DONE, (task_id,))
    return len(due)


def main() -> None:
    """Relay until the process ends."""
    with (
        psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection,
        SyncPublisher(os.environ["RABBITMQ_URL"], name="outbox") as publisher,
    ):
        connection.execute(TABLE)
        while True:
            try:
                moved = relay(connection, publisher)
            except PublishFailedError as error:
                print(error, flush=True)  # noqa: T201 - the log of the relay
                moved = 0
            time.sleep(0 if moved else 1)


if __name__ == "__main__":
    main()
