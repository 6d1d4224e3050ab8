"""Makes a text from outside one that every API accepts."""

from typing import Final

ELLIPSIS: Final = "…"


def shorten(text: str, characters: int) -> str:
    """Return the text with at most so many characters, and without code points that UTF-8 cannot encode."""
    text = text.encode(errors="replace").decode()
    return text if len(text) <= characters else text[: characters - 1] + ELLIPSIS
