"""Calls of the kind provider to kind and to the container engine; stand-ins of both record the calls."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster import cluster, images
from tests.cluster.__main__ import main
from tests.cluster.prerequisites import MissingError
from tests.cluster.provider_kind import Kind

NOTE = '#!/bin/sh\necho "${0##*/} $*" >> "$NOTES"\n'
DAEMON_IS_AWAY = '[ "$1" != info ] || exit 1\n'
OTHERS_CLUSTER, OUR_CLUSTER = (
    '[ "$*" != "get clusters" ] || echo other\n',
    '[ "$*" != "get clusters" ] || echo taskqueue\n',
)

Install = Callable[..., None]


@pytest.fixture
def bin_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place for programs."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("TASKQUEUE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CLUSTER", "kind")
    return directory


@pytest.fixture
def install(bin_directory: Path) -> Install:
    def install(*names: str, does: str = "") -> None:
        for name in names:
            program = bin_directory / name
            program.write_text(NOTE + does)
            program.chmod(0o755)

    return install


@pytest.fixture
def told(tmp_path: Path) -> Callable[[], list[str]]:
    """Return the calls of the programs, without the calls that check whether the engine answers."""

    def told() -> list[str]:
        lines = (tmp_path / "notes").read_text().replace(str(tmp_path), "TMP").splitlines()
        return [line for line in lines if not line.endswith(" info")]

    return told


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_a_cluster_is_made_once_and_reused(install: Install, told: Callable[[], list[str]], engine: str) -> None:
    install(engine, "kubectl", "helm")
    install("kind", does=f'echo "by $KIND_EXPERIMENTAL_PROVIDER as $KIND_CLUSTER_NAME" >> "$NOTES"\n{OTHERS_CLUSTER}')
    cluster().up()
    install("kind", does=OUR_CLUSTER)
    cluster().up()
    assert told() == [
        "kind get clusters",
        f"by {engine} as taskqueue",
        "kind create cluster --wait=180s --kubeconfig=TMP/cache/kind.kubeconfig",
        f"by {engine} as taskqueue",
        "kind get clusters",
        "kind export kubeconfig --kubeconfig=TMP/cache/kind.kubeconfig",
    ]


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_an_image_is_loaded_from_the_engine_into_kind_through_a_file(
    install: Install, told: Callable[[], list[str]], engine: str
) -> None:
    install(engine, does='[ "$1" != save ] || echo "$4" > "$3"\n')
    install("kind", does='read tag < "$3"; echo "loaded $tag" >> "$NOTES"\n')
    cluster().load("localhost/thumbnails:dev")
    saved, loaded, read = told()
    file = saved.removeprefix(f"{engine} save -o ").removesuffix(" localhost/thumbnails:dev")
    assert loaded == f"kind load image-archive {file}"
    assert read == "loaded localhost/thumbnails:dev"
    assert not Path(file).exists()


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_an_image_is_built_after_its_base_image(install: Install, told: Callable[[], list[str]], engine: str) -> None:
    install(engine)
    assert images.build("sample") == "localhost/thumbnails:dev"
    worker, sample = told()
    assert worker.startswith(f"{engine} build --quiet --tag=localhost/taskqueue-worker:dev ")
    assert worker.endswith("/worker-image")
    assert " --tag=localhost/thumbnails:dev --build-arg=WORKER_IMAGE=localhost/taskqueue-worker:dev " in sample


def test_the_cluster_is_removed(install: Install, told: Callable[[], list[str]]) -> None:
    install("docker", "kind", "kubectl", "helm")
    cluster().down()
    assert told() == ["kind delete cluster --kubeconfig=TMP/cache/kind.kubeconfig"]


def test_podman_is_used_if_the_daemon_of_docker_does_not_answer(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLUSTER", "auto")
    install("docker", does=DAEMON_IS_AWAY)
    install("podman")
    assert isinstance(cluster(), Kind)


def test_if_no_engine_answers_one_sentence_names_the_way_out(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("docker", "podman", does=DAEMON_IS_AWAY)
    install("kind", "kubectl", "helm")
    assert main(["up"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Docker or podman is needed and neither answers: start it, install it")
    assert said.count("\n") == 1


@pytest.mark.usefixtures("bin_directory")
def test_missing_programs_are_named_with_the_url_of_their_installation(install: Install) -> None:
    install("docker", "kubectl")
    with pytest.raises(MissingError, match=r"^please install kind \(https://.*\), helm \(https://\S+\)$"):
        cluster().up()
