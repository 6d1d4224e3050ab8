"""Logs: one JSON object per line, ours and those of the libraries alike."""

import logging
import sys

import orjson
import structlog


def configure(level: str) -> None:
    """Set up logging for the process."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
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
    # Requests and handler calls of the libraries, one line each, would drown what we have to say.
    for chatty in ("httpx", "httpcore", "kopf", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # A lost connection is told by who uses it, once and without a stack trace.
    for fussy in ("aio_pika", "aiormq"):
        logging.getLogger(fussy).setLevel(logging.CRITICAL)
