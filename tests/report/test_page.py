"""The page: what it tells of small reports made by hand, and that hostile text stays text."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from tunesmith.gate import GateConfig, gate
from tunesmith.report import Row, Story, judged, unjudged, write_page
from tunesmith.report.forest import forest
from tunesmith.report.page import html_page, sentence
from tunesmith.report.rows import difference, reach
from tunesmith.report.words import MOST_CHARACTERS, safe, word_diff
from tunesmith.types import Report, Sample, TaskReport

HOSTILE = (
    "</pre><script>alert(1)</script><img src=x onerror=alert(1)> \" ' ]]> \u202egnp.exe\u2066 \x00\x1b[31m \ud800 &amp;"
)
VOID = {"meta", "wbr", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Reads a page strictly: every element that opens closes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.words += data


def task(name, values, **fields):
    scores = {f"{name}-{number}": float(value) for number, value in enumerate(values)}
    clusters = {item: f"part {number % 2}" for number, item in enumerate(scores)}
    return TaskReport(name, f"items of {name}", scores, clusters, **fields)


def sample(report, item, completion, **fields):
    values = {"explanation": "not equal", "rule": "number", **fields}
    score = report.scores[item]
    return Sample(report.task, item, "c", f"What is {item}?", "26", completion, 3, True, score, **values)


@pytest.fixture
def pair():
    """Base and tuned: one task of 40 items of which 1 is lost and 12 are gained, one tax, one skipped task."""
    before = task("sums", [1] * 20 + [0] * 20, about="scored by number")
    after = replace(before, scores={**before.scores, "sums-0": 0.0, **{f"sums-{n}": 1.0 for n in range(20, 32)}})
    refusal = task("over_refusal", [0] * 30, better="lower", group="tax", about="harmless requests refused")
    refused = replace(refusal, scores={item: float(n < 9) for n, item in enumerate(refusal.scores)})
    code = TaskReport("code", "x", {}, {}, skipped="no jail works here")
    base = Report("the base", "b" * 16, (before, refusal, code), "local float32")
    return base, Report("the tuned", "t" * 16, (after, refused, code), "local float32", {"flip_rate": 0.0})


def story(pair, **fields):
    base, tuned = pair
    verdict = gate(GateConfig(improve={"sums": 0.0}, keep={"code": 0.05}), tuned, base)
    return Story(base, tuned, judged(verdict, tuned), 0.95, verdict, **fields)


def test_a_page_tells_verdict_lines_taxes_flips_and_lineage(pair):
    base, tuned = pair
    before = sample(base.tasks[0], "sums-0", "It is 26 apples")
    after = sample(tuned.tasks[0], "sums-0", "It is 27 apples", gap=0.01)
    told = story(pair, base_samples=[before], tuned_samples=[after], lineage={"base model": "m", "recipe": "a\nb"})
    text = html_page(told)
    page = Page(text)
    assert "the base → the tuned" in page.words
    assert f"{told.verdict.outcome}: " in page.words and "what holds it back: over_refusal, code" in page.words
    assert all(row.task in page.words.replace("\n", "") for row in told.rows)
    assert "code: not judged, no jail works here." in page.words
    assert "no noise" not in page.words and "tuned: flip_rate" in page.words and "local float32" in page.words
    assert "It is <del>26</del> apples" in text and "It is <ins>27</ins> apples" in text
    assert "fragile: 0.010" in page.words and "number: not equal" in page.words
    assert re.search(r"sums</th><td class=\"number\">40</td>.*?>19<.*?>12<.*?>1<.*?>8<", text)
    assert "can rule out" in page.words and "base model" in page.words


def test_a_page_needs_nothing_else(pair):
    text = html_page(story(pair))
    page = Page(text)
    policy = dict(page.attributes)["http-equiv"], [value for name, value in page.attributes if name == "content"]
    assert policy[0] == "Content-Security-Policy"
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in policy[1]
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not {"src", "href", "style"} & {name for name, _ in page.attributes}
    assert "http://" not in text and "https://" not in text and "url(" not in text
    assert "prefers-color-scheme: dark" in text


def test_every_drawing_is_well_formed(pair):
    for drawing in re.findall(r"<svg.*?</svg>", html_page(story(pair)), re.DOTALL):
        ElementTree.fromstring(drawing)
        assert not re.search(r"\b(nan|inf)\b", re.sub(r"<title>.*?</title>", "", drawing))


def test_hostile_text_stays_text(pair, tmp_path):
    def poisoned(report: Report) -> Report:
        tasks = tuple(
            replace(
                each,
                task=f"{each.task}{HOSTILE}",
                about=HOSTILE,
                scores={f"{item}{HOSTILE}": value for item, value in each.scores.items()},
                clusters={f"{item}{HOSTILE}": f"{name}{HOSTILE}" for item, name in each.clusters.items()},
            )
            for each in report.tasks
        )
        return Report(HOSTILE, HOSTILE, tasks, HOSTILE, {HOSTILE: [HOSTILE]})

    base, tuned = map(poisoned, pair)
    lost = next(iter(base.tasks[0].scores))
    answers = [
        Sample(each.tasks[0].task, lost, "c", HOSTILE, HOSTILE, text, 1, True, 1.0, HOSTILE, HOSTILE)
        for each, text in ((base, HOSTILE * 3), (tuned, "x" + HOSTILE))
    ]
    verdict = gate(GateConfig(), tuned, base)
    lineage = {HOSTILE: HOSTILE, "recipe": f"{HOSTILE}\n{HOSTILE}"}
    path = write_page(
        tmp_path / "report.html",
        Story(base, tuned, judged(verdict, tuned), 0.95, verdict, answers[:1], answers[1:], lineage),
    )
    text = path.read_bytes().decode("utf-8")
    page = Page(text)
    assert not {"script", "img"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not set(text) & set("\u202e\u2066\x00\x1b")
    assert "<U+202E>gnp.exe" in page.words and "<script>alert(1)</script>" in page.words


def test_a_megabyte_is_cut_and_the_diff_stays_quick():
    first, second = word_diff("a b " * 250_000, "b a " * 250_000)
    assert len(first) < 40_000 and len(second) < 40_000
    assert f"… {1_000_000 - MOST_CHARACTERS:,} more characters" in first
    assert word_diff("", "<b>")[0].count("(nothing)") == 1


def test_without_the_marks_a_diff_is_the_text():
    rng = np.random.default_rng(0)
    words = ["<a>", "b&b", '"', "  ", "\n", "é", "7.5", "you", "die\u202e"]
    for _ in range(50):
        pair = ["".join(rng.choice(words, rng.integers(0, 40))) for _ in range(2)]
        for text, side, tag in zip(pair, word_diff(*pair), ("del", "ins"), strict=True):
            assert re.sub(rf"</?{tag}>", "", side) == (safe(text) or '<span class="quiet">(nothing)</span>')


def test_many_lost_items_are_counted_and_a_part_is_shown():
    base = Report("a", "a", (task("sums", [1] * 300),))
    tuned = Report("b", "b", (task("sums", [0] * 300),))
    answers = [[sample(each.tasks[0], f"sums-{n}", "x") for n in range(300)] for each in (base, tuned)]
    text = html_page(Story(base, tuned, unjudged(base, tuned), 0.975, None, *answers))
    assert "Lost: 38 of 300 shown" in text and text.count("<details") == 38


def test_a_comparison_tells_differences_and_never_a_verdict(pair):
    rows = {row.task: row for row in unjudged(*pair)}
    sums = rows["sums"]
    assert (sums.lost, sums.gained, sums.word, sums.outcome) == (1, 12, "better", None)
    assert difference(sums).startswith("+27.5 (+") and reach(sums).endswith(" points")
    assert rows["over_refusal"].word == "worse" and rows["code"].told == "no jail works here"
    text = html_page(Story(*pair, tuple(rows.values()), 0.975))
    assert "A comparison without a verdict: 1 line better and 1 worse" in text and "PASS" not in text


def test_what_cannot_be_compared_says_why(pair):
    base, tuned = pair
    other = replace(base.tasks[0], items_digest="other items")
    sealed = replace(base.tasks[1], is_sealed=True)
    rows = {
        row.task: row
        for row in unjudged(Report("a", "a", (other, base.tasks[2])), Report("b", "b", (tuned.tasks[0], sealed)))
    }
    assert "other content" in rows["sums"].told and rows["sums"].difference is None
    assert "a was not measured on it" in rows["over_refusal"].told and "b was not measured" in rows["code"].told
    hidden = unjudged(Report("a", "a", (sealed,)), Report("b", "b", (sealed,)))
    assert "sealed" in hidden[0].told and hidden[0].base is None


def test_the_forest_draws_a_panel_for_each_unit_with_margins_on_the_side_of_harm():
    rows = [
        Row("kept", question="keep", outcome="PASS", unit="points", margin=0.05, difference=0.0, low=-0.01, high=0.01),
        Row(
            "risen",
            question="keep",
            outcome="FAIL",
            harm="up",
            unit="nats",
            margin=0.1,
            difference=9.0,
            low=8.0,
            high=float("inf"),
        ),
        Row(
            "both",
            question="keep",
            outcome="PASS",
            harm="both",
            unit="nats",
            margin=0.2,
            difference=0.0,
            low=0.0,
            high=0.0,
        ),
    ]
    panels = re.findall(r"<svg.*?</svg>", forest(rows), re.DOTALL)
    assert len(panels) == 2 and panels[0].count('class="margin"') == 1 and panels[1].count('class="margin"') == 3
    zero = float(re.search(r'class="zero" d="M([\d.]+)', panels[0])[1])
    margin = float(re.search(r'class="margin" d="M([\d.]+)', panels[0])[1])
    assert margin < zero
    assert forest([Row("nothing")]) == ""


def test_a_pass_is_told_in_one_sentence(pair):
    base, tuned = pair
    sums = Report("a", "a", base.tasks[:1]), Report("b", "b", tuned.tasks[:1])
    verdict = gate(GateConfig(improve={"sums": 0.0}), sums[1], sums[0])
    assert sentence(verdict).startswith("PASS: what should improve did") and sentence(verdict).count(".") == 1
