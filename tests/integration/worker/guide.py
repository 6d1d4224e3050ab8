"""The examples of docs/worker.md, as modules of tasks."""

import re
from pathlib import Path

GUIDE = Path(__file__).parents[3] / "docs/worker.md"


def sections() -> dict[str, list[str]]:
    """Return the Python examples of each section; those before the first one are of the section ''."""
    parts = re.split(r"^## (.+)$", GUIDE.read_text(), flags=re.MULTILINE)
    texts = zip(["", *parts[1::2]], parts[::2], strict=True)
    return {title: re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) for title, text in texts}


def write_example(section: str, directory: Path) -> str:
    """Write the only example of a section into a module in the working directory of a worker; return its name."""
    (example,) = sections()[section]
    (directory / "example.py").write_text(example)
    return "example"
