"""The conformance table of `equal`: each pair's verdict and the rule that decides it, checked by hand."""

import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from tunesmith.verify.equivalence import KINDS, equal

TABLE = Path(__file__).with_name("equal_pairs.jsonl")
PAIRS = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]
FIELDS = {"type", "value", "completion", "options", "equal", "rule"}


@pytest.mark.parametrize("name", KINDS)
def test_every_pair_has_its_verdict_and_its_rule(name):
    if name == "maths" and find_spec("math_verify") is None:
        pytest.skip("math-verify is not installed")
    wrong = []
    for pair in PAIRS:
        if pair["type"] == name:
            answer = {"type": name, "value": pair["value"], **pair["options"]}
            value, explanation, rule = equal({"answer": answer}, pair["completion"])
            assert explanation.endswith(".") and len(explanation) < 400
            if (value == 1.0, rule) != (pair["equal"], pair["rule"]):
                wrong.append((pair, value, rule))
    assert not wrong


def test_the_table_is_large_and_balanced_and_covers_every_type():
    kinds, verdicts = Counter(pair["type"] for pair in PAIRS), Counter(pair["equal"] for pair in PAIRS)
    assert len(PAIRS) >= 700 and 0.45 < verdicts[True] / len(PAIRS) < 0.55
    assert all(kinds[name] >= 5 for name in KINDS)
    assert all(set(pair) == FIELDS for pair in PAIRS)
    assert len({json.dumps([pair[field] for field in sorted(FIELDS)]) for pair in PAIRS}) == len(PAIRS)


def test_every_rule_that_is_documented_has_a_pair():
    rules = {pair["rule"].rpartition(": ")[2] for pair in PAIRS}
    assert {"exact", "contradiction", "no answer", "timeout", "beyond bounds", "unreadable", "differs"} <= rules
    assert {"digits", "words", "roman", "fraction", "scientific", "percent", "ordinal"} <= rules
    assert {"one is a percentage", "not a percentage", "other currency", "other dimension", "ambiguous date"} <= rules
