"""FastStream joins the control protocol by `python -m taskqueue_drain.faststream run ...`, in place of `faststream`.

The application does not change.
"""

from .adapter import install

__all__ = ["install"]
