"""Why a message was not published."""


class PublishFailedError(Exception):
    """The broker did not confirm the message, but may have received it. Publish again with the same `message_id`.

    Attributes:
        message_id: The identity of the task, also if the publisher has made it. A task that is published again with it
            is a duplicate, and no further task.
    """

    message_id: str | None = None


class UnroutableError(PublishFailedError):
    """No queue is bound to the exchange for this routing key. The broker dropped the message."""
