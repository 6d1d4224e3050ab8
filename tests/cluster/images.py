"""The images of the project and of its bench, built by whatever builds images here."""

import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.cluster import buildah, cache, choice, debian
from tests.cluster.prerequisites import MissingError, need_packages, run
from tests.cluster.progress import working

Name = Literal["operator", "worker", "sample", "celery", "shop", "runtimes", "rabbitmq"]
RABBITMQ = "docker.io/library/rabbitmq:4-management"
NAMES: tuple[Name, ...] = ("operator", "worker", "sample", "celery", "shop", "rabbitmq")

_ROOT = Path(__file__).parents[2]
_PAUSE = Path(__file__).parent / "pause.c"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Recipe:
    """A Dockerfile, the folder it copies from, and the images it stands on by the build argument that names them."""

    tag: str
    context: Path
    bases: Mapping[str, str] = field(default_factory=dict)

    @property
    def dockerfile(self) -> Path:
        """Always the context's own."""
        return self.context / "Dockerfile"

    def need_dockerfile(self) -> None:
        """Refuse in one sentence when there is nothing to build."""
        if not self.dockerfile.exists():
            raise MissingError(f"{self.dockerfile.relative_to(_ROOT)} is not there, so {self.tag} cannot be built")

    def inputs(self) -> Iterable[str | bytes]:
        """All that decides what the image holds."""
        self.need_dockerfile()
        text = self.dockerfile.read_text()
        yield text
        for base in self.bases.values():
            yield from _PROJECT[base].inputs() if base in _PROJECT else ()
        joined = text.replace("\\\n", " ")
        for line in re.findall(r"^(?:COPY|ADD)\s+((?!.*--from).*)$", joined, flags=re.MULTILINE):
            for source in [word for word in line.split() if not word.startswith("--")][:-1]:
                yield from _contents(self.context, source)


_PROJECT = {
    "operator": Recipe("localhost/taskqueue-operator:dev", _ROOT, {"PYTHON_IMAGE": "python"}),
    "worker": Recipe("localhost/taskqueue-worker:dev", _ROOT / "worker-image", {"PYTHON_IMAGE": "python"}),
    "sample": Recipe("localhost/thumbnails:dev", _ROOT / "deploy/samples/thumbnails", {"WORKER_IMAGE": "worker"}),
    "celery": Recipe("localhost/celery-sample:dev", _ROOT / "deploy/samples/celery", {"PYTHON_IMAGE": "python"}),
    "shop": Recipe("localhost/shop:dev", _ROOT / "deploy/samples/django", {"PYTHON_IMAGE": "python"}),
    "runtimes": Recipe("localhost/runtimes:dev", _ROOT / "tests/integration", {"WORKER_IMAGE": "worker"}),
}


def build(name: Name) -> str:
    """Build the image unless its inputs are unchanged since the last build; returns its tag."""
    if choice.provider() == "local":
        archive(name)
        return tag(name)
    engine = choice.need_engine()
    if name == "rabbitmq":
        with working(f"pulling {RABBITMQ}"):
            run(engine, "pull", "--quiet", RABBITMQ)
        return RABBITMQ
    recipe = _PROJECT[name]
    recipe.need_dockerfile()
    arguments = [f"--build-arg={key}={build(base)}" for key, base in recipe.bases.items() if base in _PROJECT]  # type: ignore[arg-type]  # keys of _PROJECT are names
    with working(f"building the {name} image"):
        run(engine, "build", "--quiet", f"--tag={recipe.tag}", *arguments, str(recipe.context))
    return recipe.tag


def size_mb(name: Name) -> int:
    """Return the size of an image that was built, without compression."""
    if choice.provider() == "local":
        size = archive(name).stat().st_size
    else:
        image = RABBITMQ if name == "rabbitmq" else tag(name)
        size = int(run(choice.need_engine(), "image", "inspect", "--format={{.Size}}", image))
    return round(size / 1_000_000)


def tag(name: str) -> str:
    """The name of the image in clusters."""
    return _PROJECT[name].tag if name in _PROJECT else _MADE_HERE[name].tag


def archive(name: str) -> Path:
    """A tar file of the image for containerd, built with buildah and kept by the content of its inputs."""
    if name in _PROJECT:
        recipe = _PROJECT[name]
        found = cache.entry(f"image-{name}-{cache.digest(recipe.inputs())}", lambda place: _build(name, recipe, place))
    else:
        made = _MADE_HERE[name]
        content = cache.digest([made.dockerfile, _PAUSE.read_bytes()])
        found = cache.entry(f"image-{name}-{content}", lambda place: _compose(name, made, place))
    _forget_older(name)
    return found / "image.tar"


def archive_of(image: str) -> Path:
    """The tar file of the image with this tag."""
    for name in (*_PROJECT, *_MADE_HERE):
        if tag(name) == image:
            return archive(name)
    raise MissingError(f"{image} is none of the images built here: {', '.join(map(tag, (*_PROJECT, *_MADE_HERE)))}")


def _build(name: str, recipe: Recipe, place: Path) -> None:
    arguments = {}
    for key, base in recipe.bases.items():
        buildah.have(tag(base), archive(base))
        arguments[key] = tag(base)
    with working(f"building the {name} image"):
        buildah.build(recipe.tag, recipe.context, arguments)
        buildah.save(recipe.tag, place / "image.tar")


def _compose(name: str, made: "_Made", place: Path) -> None:
    context = place / "context"
    context.mkdir()
    made.fill(context)
    (context / "Dockerfile").write_text(made.dockerfile)
    with working(f"making the {name} image"):
        buildah.build(made.tag, context, {})
        buildah.save(made.tag, place / "image.tar")
    shutil.rmtree(context)


def _pack(root: Path, context: Path) -> None:
    # By way of tar, because a copied directory loses its owners.
    run("tar", "--create", "--numeric-owner", f"--file={context / 'root.tar'}", f"--directory={root}", ".")


def _compile_pause(context: Path) -> None:
    need_packages("gcc")
    run("gcc", "-Os", "-static", "-o", str(context / "pause"), str(_PAUSE))


@dataclass(frozen=True)
class _Made:
    """An image that no registry has: a Dockerfile, and a function that puts the added files beside it."""

    tag: str
    fill: Callable[[Path], None]
    lines: tuple[str, ...]

    @property
    def dockerfile(self) -> str:
        return "\n".join(("FROM scratch", *self.lines)) + "\n"


_MADE_HERE: Mapping[str, _Made] = {
    "python": _Made(
        "localhost/python:3.13-slim",
        lambda context: _pack(debian.python(), context),
        ("ADD root.tar /", f"ENV LANG=C.UTF-8 PATH={_PATH}", 'CMD ["python3"]'),
    ),
    "rabbitmq": _Made(
        "localhost/rabbitmq:4-management",
        lambda context: _pack(debian.rabbitmq(), context),
        (
            "ADD root.tar /",
            f"ENV HOME=/var/lib/rabbitmq LANG=C.UTF-8 RABBITMQ_LOGS=- PATH=/usr/lib/rabbitmq/bin:{_PATH}",
            "USER rabbitmq",
            'ENTRYPOINT ["/usr/lib/rabbitmq/bin/rabbitmq-server"]',
        ),
    ),
    "pause": _Made(
        "localhost/pause:bench",
        _compile_pause,
        ("COPY pause /pause", 'ENTRYPOINT ["/pause"]'),
    ),
}


def _contents(context: Path, source: str) -> Iterable[str | bytes]:
    ignored = frozenset({"__pycache__", ".git", ".venv"})
    for path in sorted(context.glob(source.removeprefix("./").rstrip("/") or "*")):
        yield str(path.relative_to(context))
        yield cache.tree_digest(path, ignored=ignored) if path.is_dir() else path.read_bytes()


def _forget_older(name: str) -> None:
    kept = [path for path in cache.home().glob(f"image-{name}-*") if path.is_dir() and path.suffix != ".unfinished"]
    for path in sorted(kept, key=lambda path: path.stat().st_mtime, reverse=True)[3:]:
        shutil.rmtree(path, ignore_errors=True)
