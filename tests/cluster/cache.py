"""A cache outside the checkout for files that take long to make; an entry is complete or missing."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.prerequisites import MissingError


def home() -> Path:
    """The directory of everything kept: `TASKQUEUE_CACHE`, else a folder of the user's cache.

    Raises:
        MissingError: It is not there and cannot be made.
    """
    chosen = os.environ.get("TASKQUEUE_CACHE")
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = Path(chosen).resolve() if chosen else users / "taskqueue-operator"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MissingError(f"{path} cannot be made ({error.strerror}): set TASKQUEUE_CACHE to a folder") from error
    return path


def entry(name: str, make: Callable[[Path], None]) -> Path:
    """The kept directory `name`, filled by `make` when it is not there.

    Made beside its place and then renamed, so a failed or killed run leaves nothing that looks finished.
    """
    place = home() / name
    if place.exists():
        return place
    with locked(name):
        if not place.exists():
            unfinished = home() / f"{name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(place)
    return place


def locks() -> Path:
    """The directory of the files that processes lock."""
    folder = home() / "locks"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Keep other processes of this machine out of `name`; the kernel lets go when the holder dies."""
    with (locks() / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def put(file: Path, content: str) -> Path:
    """Write `file`, whole and for its owner only, unless it says just this: programs watch what they were given."""
    if not file.exists() or file.read_text() != content:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_name(f"{file.name}.unfinished")
        unfinished.touch(mode=0o600)
        unfinished.write_text(content)
        unfinished.replace(file)
    return file


def digest(parts: Iterable[bytes | str]) -> str:
    """A short name for exactly these contents."""
    found = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        found.update(b"%d:" % len(content))
        found.update(content)
    return found.hexdigest()[:12]


def tree_digest(root: Path, *, ignored: frozenset[str] = frozenset()) -> str:
    """The digest of the files below `root`, without those with an `ignored` name on their path."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not ignored & {*path.relative_to(root).parts})
    return digest(part for path in files for part in (str(path.relative_to(root)), path.read_bytes()))
