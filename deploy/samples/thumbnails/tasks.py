"""A sample application: it makes thumbnails of images that it draws itself, and takes the time of a download."""

import asyncio
import tempfile
from typing import Any

from PIL import Image  # type: ignore[import-not-found]  # installed in the image

from taskqueue_worker import Context, task


@task("image.thumbnail")
async def thumbnail(payload: dict[str, Any], context: Context) -> None:
    """Make one thumbnail: `{"image": "cat.jpg", "seconds": 0.3}`.

    A message may be delivered twice. The result is named after the task_id, so a second run changes nothing.
    """
    await asyncio.sleep(float(payload.get("seconds", 0.5)))
    image = Image.new("RGB", (640, 480), "teal")
    image.thumbnail((64, 64))
    with tempfile.TemporaryFile() as file:  # in /tmp: the rest of the filesystem is read-only
        image.save(file, "WEBP")
    context.log.info("thumbnail made", image=payload.get("image"), name=f"{context.task_id}.webp")


@task("image.verify")
def verify(payload: dict[str, Any]) -> None:
    """Fail for a file that is not an image: `{"header": "GIF89a"}`. A plain function runs in a thread."""
    if not str(payload.get("header", "")).startswith(("GIF8", "\x89PNG", "\xff\xd8")):
        raise ValueError(f"not an image: it starts with {payload.get('header')!r}")
