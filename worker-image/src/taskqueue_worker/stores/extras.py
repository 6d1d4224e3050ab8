"""The libraries of extras, imported when a task asks for them."""

import importlib
from typing import Any


class MissingExtraError(ImportError):
    """An extra of the distribution is not installed."""


def library(module: str, extra: str) -> Any:  # noqa: ANN401 - a module, whose types depend on the extra
    """Import the library of an extra.

    Raises:
        MissingExtraError: It is not installed; the text says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"The package {error.name} is not installed. Install it with: pip install 'taskqueue-worker[{extra}]'",
            name=error.name,
        ) from None
