"""Why a message was not published."""


class PublishFailedError(Exception):
    """The broker did not confirm the message, but may have received it. Publish again with the same `message_id`."""


class UnroutableError(PublishFailedError):
    """No queue is bound to the exchange for this routing key. The broker dropped the message."""
