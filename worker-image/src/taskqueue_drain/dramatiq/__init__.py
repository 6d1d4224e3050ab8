"""dramatiq joins the control protocol by `dramatiq MODULE taskqueue_drain.dramatiq`. The application does not change.

Each process of dramatiq imports this module after the application, before it makes its worker. A worker that cannot be
drained says why in one line, and goes on as plain dramatiq.
"""

from .middleware import DrainMiddleware, install

__all__ = ["DrainMiddleware"]

install()
