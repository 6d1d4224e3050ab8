"""Counts of the tasks of a runtime with threads or processes."""

from taskqueue_drain.bounds import TASK_NAMES
from taskqueue_drain.task_runs import DURATION_BUCKETS, OTHER, Status, TaskRuns


def test_a_run_counts_from_its_start_to_its_first_end() -> None:
    runs = TaskRuns(0)
    run = object()
    runs.begin(run, 1)
    runs.start(run, 2)
    assert (
        runs.figures(5, prefetched=3).in_flight,
        runs.figures(5, prefetched=3).prefetched,
    ) == (1, 3)
    assert runs.figures(5, prefetched=0).oldest_seconds == 3
    runs.end(run, "mail", Status.FAILED, 6)
    runs.end(run, "mail", Status.DONE, 7)
    runs.start(run, 8)
    figures = runs.figures(10, prefetched=0)
    assert (figures.in_flight, figures.completed, figures.failed) == (0, 0, 1)
    assert (figures.busy_seconds, figures.idle_seconds, figures.oldest_seconds) == (4, 4, None)
    assert runs.totals.ended == {("mail", Status.FAILED): 1}
    counts, seconds = runs.totals.durations["mail"]
    assert (counts[DURATION_BUCKETS.index(2.5)], counts[DURATION_BUCKETS.index(5)], counts[-1], seconds) == (0, 1, 1, 4)


def test_a_task_that_is_tried_again_is_neither_done_nor_failed_and_one_requeued_is_not_counted() -> None:
    runs = TaskRuns(0)
    retried, requeued = object(), object()
    runs.begin(retried, 0)
    runs.end(retried, "mail", Status.RETRIED, 1)
    runs.begin(requeued, 0)
    runs.discard(requeued, 1)
    runs.end(requeued, "mail", Status.DONE, 1)
    figures = runs.figures(1, prefetched=0)
    assert (figures.in_flight, figures.completed, figures.failed) == (0, 0, 0)
    assert runs.totals.ended == {("mail", Status.RETRIED): 1}


def test_the_names_of_tasks_are_bounded() -> None:
    runs = TaskRuns(0)
    for n in range(2 * TASK_NAMES):
        runs.begin(n, 0)
        runs.end(n, f"task {n}", Status.DONE, 1)
    assert len(runs.totals.durations) == TASK_NAMES + 1
    assert runs.totals.ended[OTHER, Status.DONE] == TASK_NAMES
