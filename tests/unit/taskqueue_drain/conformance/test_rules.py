"""The rules are those of the pages, and one failure breaks a rule."""

import re
from pathlib import Path

from taskqueue_drain.conformance.rules import RULES, Findings, Result, merged
from taskqueue_drain.conformance.scenarios import SCENARIOS

DOCS = Path(__file__).parents[4] / "docs"


def test_the_pages_have_each_rule_once() -> None:
    pages = [(DOCS / f"{name}.md").read_text() for name in ("control-protocol", "worker-contract")]
    # The first one is the example that says what such an id is.
    _, *named = re.findall(r"\(rule\s+`([a-z-]+)`\)", "\n".join(pages))
    assert sorted(named) == sorted(RULES)


def test_the_page_of_the_kit_has_a_row_for_each_rule_in_its_order() -> None:
    table = (DOCS / "conformance.md").read_text().partition("## The rules")[2]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == list(RULES)


def test_scenarios_test_all_rules() -> None:
    assert frozenset[str]().union(*(scenario.rules for scenario in SCENARIOS)) == set(RULES)


def test_one_failure_breaks_a_rule_and_an_early_end_leaves_rules_untested() -> None:
    good, bad = Findings(["drain", "lease"]), Findings(["drain", "order", "undrain"])
    good.check("drain", "", holds=True)
    good.check("lease", "", holds=True)
    bad.check("drain", "a task began", holds=False)
    bad.check("drain", "another reason", holds=False)
    bad.check("order", "", holds=True)
    bad.break_off("it ended")
    verdicts = merged([good, bad])
    assert [one.rule for one in verdicts] == list(RULES)
    untested = dict.fromkeys(RULES, (Result.NOT_TESTED, "no scenario tests it"))
    assert {one.rule: (one.result, one.reason) for one in verdicts} == untested | {
        "drain": (Result.FAIL, "a task began"),
        "lease": (Result.PASS, RULES["lease"]),
        "order": (Result.PASS, RULES["order"]),
        "undrain": (Result.NOT_TESTED, "it ended"),
    }
    assert (good.is_broken, bad.is_broken) == (False, True)
