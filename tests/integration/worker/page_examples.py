"""The examples of a page of the documentation, as programs that tests run."""

import asyncio
import os
import re
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).parents[3] / "docs"
EXAMPLE: Final = "thumbnails"
"""The queue and the exchange of the pages."""


def example(page: str, before: str, *, exchange: str) -> str:
    """Return the code block that follows a text on a page, for another exchange."""
    rest = (DOCS / page).read_text().split(before, 1)[1]
    found = re.search(r"^```\w+\n(.*?)^```$", rest, re.DOTALL | re.MULTILINE)
    assert found, f"no example after {before!r}"
    return found[1].replace(EXAMPLE, exchange)


async def run(*command: str, **variables: str) -> None:
    """Run a program to its end; it must not fail."""
    process = await asyncio.create_subprocess_exec(*command, env={"PATH": os.environ["PATH"], **variables})
    assert await process.wait() == 0
