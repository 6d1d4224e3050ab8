"""dramatiq joins the control protocol by `python -m taskqueue_drain.dramatiq MODULE`. The application does not change.

`dramatiq MODULE taskqueue_drain.dramatiq` joins as well: a worker joins when it starts, if its process has imported
this module. One that cannot be drained says why in one line, and goes on as plain dramatiq.
"""

from .middleware import DrainMiddleware, install

__all__ = ["DrainMiddleware"]

install()
