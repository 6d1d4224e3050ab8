# ruff: noqa: INP001 - no package: it is copied to /app as it is
"""A sample application: thumbnails that take a while and leave nothing behind."""

import asyncio
from typing import Any

from taskqueue_worker import Context, task


@task("image.thumbnail")
async def thumbnail(payload: dict[str, Any], context: Context) -> None:
    """Make one thumbnail: `{"image": "cat.jpg", "seconds": 0.3}`.

    A message may come twice. So what a task makes is named after its task_id, and making it again changes nothing.
    """
    await asyncio.sleep(float(payload.get("seconds", 0.5)))
    context.log.info("thumbnail made", image=payload.get("image"), name=f"{context.task_id}.webp")


@task("image.verify")
def verify(payload: dict[str, Any]) -> None:
    """Refuse an image that is no image: `{"header": "GIF89a"}`. A plain function runs in a thread."""
    if not str(payload.get("header", "")).startswith(("GIF8", "\x89PNG", "\xff\xd8")):
        raise ValueError(f"not an image: it begins with {payload.get('header')!r}")
