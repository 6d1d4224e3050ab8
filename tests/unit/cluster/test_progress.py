"""Long steps report their progress."""

import re
from threading import active_count

import pytest

from tests.cluster.progress import until, working


def test_a_long_step_reports_its_progress_periodically_until_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    said = ""

    def twice() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return said.count("still") > 1

    before = active_count()
    with working("building", every=0.01):
        until(twice, "it is said twice", seconds=30)
    first, *others = said.splitlines()
    assert re.fullmatch(r"\[ *\d+\.\d s\] building", first)
    assert all(re.fullmatch(r"\[ *\d+\.\d s\] still building, since \d+ s", other) for other in others)
    assert active_count() == before


def test_a_step_that_fails_reports_no_more_progress() -> None:
    before = active_count()
    with pytest.raises(RuntimeError), working("building", every=0.01):
        raise RuntimeError
    assert active_count() == before
