"""The figures of an adapter are those of the runs with it; harm in the other runs shows that the audit finds harm."""

from tests.bench.adapters import FIGURES, harm
from tests.bench.celery import CELERY
from tests.bench.runtimes import RUNTIMES
from tests.bench.scenarios import Outcome


def account(**found: int) -> dict[str, int]:
    return dict.fromkeys(FIGURES.values(), 0) | found


def test_runs_with_and_without_the_adapter_are_counted_apart() -> None:
    accounts = {
        "early": account(tasks=5, scale_ins=2),
        "late": account(tasks=5, scale_ins=1, removed_busy_pods=1),
        "control": account(tasks=5, lost=2, redelivered_after_start=1, removed_busy_pods=3),
    }

    figures = harm(Outcome(accounts, {}), ["early", "late"], ["control", "without_a_run"])

    assert (figures["tasks"], figures["scale_ins"], figures["busy_removed"], figures["lost"]) == (10, 3, 1, 0)
    assert (figures["control_lost"], figures["control_harm"], figures["control_busy_removed"]) == (2, 3, 3)


def test_celery_is_measured_with_both_acknowledgements_and_multipliers() -> None:
    assert {setting.name: setting.prefetched for setting in CELERY.settings} == {
        "early_1": 2,
        "early_4": 8,
        "late_1": 0,
        "late_4": 6,
    }


def test_each_runtime_has_a_message_with_the_identity_and_the_duration_of_its_task() -> None:
    for runtime in (CELERY, *RUNTIMES):
        message = runtime.message("identity", 1.5)

        assert "identity" in str(message)
        assert "1.5" in str(message)
