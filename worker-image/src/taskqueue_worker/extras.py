"""The libraries of extras, imported when a task asks for them."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class MissingExtraError(ImportError):
    """An extra of the distribution is not installed."""


@contextmanager
def importing(package: str, extra: str) -> Iterator[None]:
    """Import within this context what needs the package of an extra.

    Raises:
        MissingExtraError: The package is not installed; the text says how to install it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingExtraError(
            f"The package {package} is not installed. Install it with: pip install 'taskqueue-worker[{extra}]'",
            name=package,
        ) from None


def library(module: str, extra: str) -> Any:  # noqa: ANN401 - a module, whose types depend on the extra
    """Import the library of an extra.

    Raises:
        MissingExtraError: It is not installed; the text says how to install it.
    """
    with importing(module.partition(".")[0], extra):
        return importlib.import_module(module)
