"""The scorer of the cron example: equal meaning counts, everything else is wrong and says why."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path

import pytest
from croniter import croniter

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "cron"
if str(FOLDER) not in sys.path:
    sys.path.insert(0, str(FOLDER))

import scorer  # noqa: E402

SECONDS = {"value": "its smallest step is one minute.", "aliases": ["smallest unit is one minute"]}


def cron(value: str) -> dict:
    return {"answer": {"type": "cron", "value": value}}


def refusal() -> dict:
    return {"answer": {"type": "refusal"} | SECONDS}


RIGHT = [
    ("30 7 * * 1-5", "30 7 * * 1-5"),
    ("30 7 * * 1-5", "  30 7 * * 1-5\n"),
    ("30 7 * * 1-5", "`30 7 * * 1-5`"),
    ("30 7 * * 1-5", "```\n30 7 * * 1-5\n```"),
    ("30 7 * * 1-5", "30 7 * * MON-FRI"),
    ("30 7 * * 1-5", "30 7 * * mon,tue,wed,thu,fri"),
    ("30 7 * * 1-5", "30 07 * * 1-5"),
    ("30 7 * * 1-5", "30\t7  * * 1-5"),
    ("30 7 * * 1-5", "30 7 */1 * 1-5"),
    ("30 7 * * 1-5", "30 7 * 1-12 1-5"),
    ("30 7 * * 1-5", "30 7 * Jan-Dec 1-5"),
    ("0 0 * * 0", "0 0 * * 7"),
    ("0 0 * * 0", "@weekly"),
    ("0 0 * * *", "@daily"),
    ("0 0 * * *", "@midnight"),
    ("0 0 * * *", "@DAILY"),
    ("0 * * * *", "@hourly"),
    ("0 0 1 * *", "@monthly"),
    ("0 0 1 1 *", "@yearly"),
    ("0 0 1 1 *", "@annually"),
    ("* * * * *", "*/1 * * * *"),
    ("*/15 * * * *", "0,15,30,45 * * * *"),
    ("*/15 * * * *", "0-59/15 * * * *"),
    ("*/20 9-17 * * *", "0,20,40 9-17/1 * * *"),
    ("0 */6 * * *", "0 0,6,12,18 * * *"),
    ("0 9 * * 0,6", "0 9 * * sat,sun"),
    ("0 9 * * 0,6", "0 9 * * 6-7"),
    ("0 9 * * *", "0 9 * * 0-6"),
    ("0 9 * * *", "0 9 1-31 * *"),
    ("0 9 1 1,4,7,10 *", "0 9 1 */3 *"),
    ("0 9 1 1,4,7,10 *", "0 9 1 jan,apr,jul,oct *"),
    ("0 9,17 * * *", "0 17,9 * * *"),
    ("0 9 29 2 *", "0 9 29 feb *"),
    ("0 0 13 * 5", "0 0 13 * FRI"),
    ("0 0 1-31 * 1", "0 0 * * *"),
]

WRONG = [
    ("30 7 * * 1-5", "30 7 * * *", "days"),
    ("30 7 * * 1-5", "7 30 * * 1-5", "'30' is not a hour"),
    ("30 7 * * 1-5", "30 19 * * 1-5", "hours"),
    ("30 7 * * 1-5", "31 7 * * 1-5", "minutes"),
    ("30 7 * * 1-5", "30 7 1-31 * 1-5", "days"),
    ("0 0 13 * 5", "0 0 13 * *", "days"),
    ("0 0 13 * 5", "0 0 */13 * 5", "days"),
    ("30 7 * * 1-5", "61 7 * * *", "'61' is not a minute"),
    ("30 7 * * 1-5", "30 24 * * *", "'24' is not a hour"),
    ("30 7 * * 1-5", "30 7 0 * *", "'0' is not a day of the month"),
    ("30 7 * * 1-5", "30 7 32 * *", "'32' is not a day of the month"),
    ("30 7 * * 1-5", "30 7 * 13 *", "'13' is not a month"),
    ("30 7 * * 1-5", "30 7 * * 8", "'8' is not a day of the week"),
    ("30 7 * * 1-5", "30 7 * * mo-fr", "'mo' is not a day of the week"),
    ("30 7 * * 1-5", "-1 7 * * *", "prose"),
    ("30 7 * * 1-5", "30 7 * *", "4 fields"),
    ("30 7 * * 1-5", "0 30 7 * * 1-5", "6 fields"),
    ("30 7 * * 1-5", "* * * * * * *", "7 fields"),
    ("30 7 * * 1-5", "", "empty"),
    ("30 7 * * 1-5", " \n\t ", "empty"),
    ("30 7 * * 1-5", "``", "prose"),
    ("30 7 * * 1-5", "Sure! 30 7 * * 1-5", "prose"),
    ("30 7 * * 1-5", "30 7 * * 1-5 is the answer", "fields"),
    ("30 7 * * 1-5", "30 7 * * 1-5\n30 7 * * 1-5", "several lines"),
    ("30 7 * * 1-5", "every weekday at 7:30", "prose"),
    ("30 7 * * 1-5", "@reboot", "not a nickname"),
    ("30 7 * * 1-5", "@every 5m", "not a nickname"),
    ("30 7 * * 1-5", "*/0 7 * * 1-5", "not a step"),
    ("30 7 * * 1-5", "*/99999999999 7 * * *", "not a step"),
    ("30 7 * * 1-5", "1-999999999 * * * *", "'999999999' is not a minute"),
    ("30 7 * * 1-5", "30 7 L * *", "not a day of the month"),
    ("30 7 * * 1-5", "30 7 * * 5#2", "prose"),
    ("30 7 * * 1-5", "30 7 ? * 1-5", "prose"),
    ("30 7 * * 1-5", "R R * * *", "prose"),
    ("30 7 * * 1-5", "30,,31 7 * * *", "not a minute"),
    ("30 7 * * 1-5", "/ / / / /", "prose"),
    ("30 7 * * 1-5", "30 7 * * -", "not a day of the week"),
    ("30 7 * * 1-5", "30 7 * * 1--5", "not a day of the week"),
    ("30 7 * * 1-5", "**** 7 * * *", "not a minute"),
    ("30 7 * * 1-5", "\u0663\u0660 7 * * 1-5", "characters"),
    ("30 7 * * 1-5", "\u202e30 7 * * 1-5", "characters"),
    ("30 7 * * 1-5", "\x00 * * * *", "prose"),
    ("30 7 * * 1-5", "9" * 300 + " * * * *", "not a minute"),
    ("30 7 * * 1-5", "0," * 190 + "0 * * * *", "differ"),
    ("30 7 * * 1-5", "1," * 400 + "1 * * * *", "too many"),
    ("30 7 * * 1-5", "a" * 3_000_000, "far longer"),
    ("30 7 * * 1-5", "* " * 1_000_000, "far longer"),
    ("30 7 * * 1-5", "\U0001f600" * 500_000, "far longer"),
    (
        "30 7 * * 1-5",
        "Cron cannot express this: its smallest step is one minute.",
        "refused an ordinary schedule",
    ),
    ("30 7 * * 1-5", "cron cannot express this", "refused an ordinary schedule"),
]

REFUSALS = [
    ("Cron cannot express this: its smallest step is one minute.", 1.0),
    ("cron cannot express this: its smallest step is one minute", 1.0),
    ("  `Cron cannot express this: its smallest step is one minute.`\n", 1.0),
    ("Cron cannot express this: the smallest unit is one minute.", 1.0),
    ("Cron cannot express this: it cannot count weeks.", 0.0),
    ("Cron cannot express this.", 0.0),
    ("Cron cannot express this: bits smallest step is one minutes", 0.0),
    ("Its smallest step is one minute.", 0.0),
    ("*/45 * * * *", 0.0),
    ("* * * * * */45", 0.0),
    ("", 0.0),
    ("x" * 2_000_000, 0.0),
]


@pytest.mark.parametrize(("value", "completion"), RIGHT)
def test_equal_meaning_is_right(value, completion):
    points, why = scorer.score(cron(value), completion)
    assert points == 1.0, why


@pytest.mark.parametrize(("value", "completion", "reason"), WRONG)
def test_other_answers_are_wrong_and_say_why(value, completion, reason):
    started = time.monotonic()
    points, why = scorer.score(cron(value), completion)
    assert points == 0.0
    assert reason in why
    assert len(why) < 200 and why.endswith(".")
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(("completion", "points"), REFUSALS)
def test_refusals(completion, points):
    assert scorer.score(refusal(), completion)[0] == points


def fires(expression: str, start: datetime, end: datetime) -> list[datetime]:
    """Every moment in a span, from croniter's own iteration, with cron's rule about stars."""
    found = []
    iterator = croniter(expression, start - timedelta(minutes=1), implement_cron_bug=True)
    while (moment := iterator.get_next(datetime)) < end:
        found.append(moment)
    return found


ORACLE = (
    [
        "30 7 * * 1-5",
        "30 7 * * MON-FRI",
        "30 7 * * 1,2,3,4,5",
        "30 7 * * 1-6",
        "0 0 13 * 5",
        "0 0 13 * FRI",
        "0 0 13 * *",
    ],
    [
        "0 9 1 1,4,7,10 *",
        "0 9 1 */3 *",
        "0 9 1 */4 *",
        "0 9 1,15 * *",
        "0 9 */14 * *",
        "0 9 1,15,29 * *",
        "0 9 * * 7",
    ],
    [
        "0 */8 * * *",
        "0 0,8,16 * * *",
        "0 8 * * *",
        "0 9 */2 * 1",
        "0 9 1-31 * 1",
        "0 9 * * *",
        "0 9 * * 0",
        "0 9 29 2 *",
    ],
)


@pytest.mark.parametrize("group", ORACLE)
def test_scorer_agrees_with_croniter(group):
    start = datetime(2023, 1, 1)
    moments = {expression: fires(expression, start, datetime(2025, 1, 1)) for expression in group}
    for left, right in product(group, repeat=2):
        assert scorer.score(cron(left), right)[0] == float(moments[left] == moments[right]), (left, right)


@pytest.mark.parametrize("text", ["0 22-6 * * *", "0 9 * dec-jan *", "30-10 * * * *", "0 9 * * fri-mon"])
def test_backward_ranges_are_refused_as_cron_does(text):
    item = {"answer": {"type": "cron", "value": "0 9 * * *"}}
    value, explanation = scorer.score(item, text)
    assert value == 0.0
    assert "runs backwards" in explanation
