"""Logs: one JSON object per line, for the operator and its libraries alike."""

import logging
import sys

import orjson
import structlog

from .log_shares import LogShares


def configure(level: str) -> None:
    """Set up logging for the process."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    structlog.configure(
        processors=[LogShares(), *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(
                    serializer=lambda line, **_: orjson.dumps(line, default=str).decode()
                ),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # One line per request or handler call would hide the operator's own lines.
    for name in ("httpcore", "kopf", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # The user of a connection logs its loss, once and without a stack trace.
    for name in ("aio_pika", "aiormq"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
