"""Quantities of Kubernetes, such as 500m and 64Mi, in the parts of a pod template that the CRD cannot check."""

import re
from collections.abc import Iterator
from typing import Final

QUANTITY_HINT: Final = (
    "Use a number such as 2 or 0.5, with a suffix such as m (thousandths), Mi or Gi: 500m, 512Mi. MB is no suffix."
)

_QUANTITY: Final = re.compile(
    r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]+)?", re.ASCII
)
_MAPS: Final = frozenset({"requests", "limits", "overhead"})
_FIELDS: Final = frozenset({"sizeLimit", "divisor"})


def invalid_quantities(template: object, path: str) -> Iterator[tuple[str, str]]:
    """Return the path and the text of each quantity in a pod template that is none."""
    if isinstance(template, list):
        for index, element in enumerate(template):
            yield from invalid_quantities(element, f"{path}[{_name(element, index)}]")
    if not isinstance(template, dict):
        return
    for key, value in template.items():
        if key in _MAPS and isinstance(value, dict):
            yield from _invalid(value.items(), f"{path}.{key}")
        elif key in _FIELDS:
            yield from _invalid([(key, value)], path)
        else:
            yield from invalid_quantities(value, f"{path}.{key}")


def _invalid(fields: object, path: str) -> Iterator[tuple[str, str]]:
    for key, value in fields:  # type: ignore[attr-defined]
        if isinstance(value, str) and not _QUANTITY.fullmatch(value):
            yield f"{path}.{key}", value


def _name(element: object, index: int) -> object:
    return element.get("name", index) if isinstance(element, dict) else index
