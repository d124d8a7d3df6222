"""The page: verdict, forest, lines, taxes, flips, noise and lineage as one HTML file."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.progress import count
from tunesmith.report.flips import changes, matrix, told
from tunesmith.report.forest import forest, margins, mark
from tunesmith.report.panel import multiples, tax_lines
from tunesmith.report.rows import Row, difference, figure, reach
from tunesmith.report.words import block, cut, safe
from tunesmith.types import Outcome, Verdict

if TYPE_CHECKING:
    from tunesmith.report import Story

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
MEANINGS: Mapping[Outcome, str] = {
    "PASS": "what should improve did, and a harm beyond its margin is ruled out",
    "FAIL": "the evidence is against this model",
    "INCONCLUSIVE": "these items do not settle it",
}
LAMPS = ("FAIL", "INCONCLUSIVE", "PASS")


def html_page(story: "Story") -> str:
    """The whole file. Every text of a model, of data or of a recipe is escaped; there is no script."""
    title = safe(f"{story.base.model} → {story.tuned.model}")
    sections = [
        ("Differences and their margins", _forest(story)),
        ("Every line", _lines(story.rows)),
        ("The alignment tax", _taxes(story)),
        ("Kept, gained, lost", matrix(story.base, story.tuned)),
        ("Item by item", _items(story)),
        ("What can be done", _advice(story.verdict)),
        ("How it was measured", _noise(story)),
        ("Where it comes from", _lineage(story.lineage)),
    ]
    body = "\n".join(f"<section><h2>{name}</h2>\n{html}</section>" for name, html in sections if html)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title}</title><style>\n{_style()}</style></head>\n<body>\n"
        f"<header><h1>{title}</h1>\n{_verdict(story)}</header>\n<main>{body}</main>\n</body></html>\n"
    )


@cache
def _style() -> str:
    return (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def sentence(verdict: Verdict) -> str:
    """The verdict in one sentence, with the lines that hold it back."""
    open_lines = verdict.open_findings
    gated = sum(each.question != "alarm" for each in verdict.findings)
    if not open_lines:
        watched = len(verdict.findings) - gated
        alarms = f"; none of {watched} alarms is raised" if watched else ""
        return f"PASS: {MEANINGS['PASS']} ({count(gated, 'gated line')} pass{'es' * (gated == 1)}{alarms})."
    names = list(dict.fromkeys(each.task for each in open_lines))
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{verdict.outcome}: {MEANINGS[verdict.outcome]}; what holds it back: {', '.join(names[:5])}{more}."


def _verdict(story: "Story") -> str:
    if story.verdict is None:
        worse = [row.task for row in story.rows if row.word == "worse"]
        better = [row.task for row in story.rows if row.word == "better"]
        counts = f"{count(len(better), 'line')} better and {len(worse):,} worse beyond doubt, each by itself"
        text = f"A comparison without a verdict: {counts}."
        return f'<p class="verdict">{safe(text)}</p>'
    outcome = story.verdict.outcome
    lamps = "".join(f'<i class="lamp {each.lower()}{" lit" * (each == outcome)}"></i>' for each in LAMPS)
    light = f'<span class="light" role="img" aria-label="{outcome}">{lamps}</span>'
    return f'<div class="verdict {outcome.lower()}">{light}<p>{safe(cut(sentence(story.verdict), 600)[0])}</p></div>'


def _forest(story: "Story") -> str:
    gated = [row for row in story.rows if row.is_gated]
    drawn = forest(gated or [row for row in story.rows if row.group != "tax"] or story.rows)
    if not drawn:
        return ""
    level = 100 * (2 * story.confidence - 1)
    note = f"Dots are paired differences, tuned minus base on the same items; bars their {level:g} % intervals"
    note += (
        "; dashed marks the margins. A kept line passes when its bar stays on the good side of its mark."
        if gated
        else "."
    )
    return f'<div class="wide">{drawn}</div><p class="quiet">{note}</p>'


def _lines(rows: Iterable[Row]) -> str:
    columns = ("line", "outcome", "items", "base", "tuned", "difference", "margin", "can rule out")
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    body = "".join(_table_row(row) for row in rows)
    return f'<div class="wide"><table class="lines"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _table_row(row: Row) -> str:
    """Two rows of the table: the figures, and beneath them the sentence."""
    margin = " or ".join(figure(row, each, "+") for each in margins(row)) if row.difference is not None else ""
    items = f"{row.num_items:,}" if row.num_items else ""
    cells = (
        mark(row) or "–",
        items,
        figure(row, row.base),
        figure(row, row.tuned),
        difference(row),
        margin,
        reach(row),
    )
    plain = "".join(f"<td>{safe(each)}</td>" for each in cells)
    name = safe(cut(row.task, 80)[0]).replace("_", "_<wbr>")
    unit = f' <span class="quiet">{safe(row.unit)}</span>' if row.unit else ""
    kind = (row.outcome or row.word or "plain").lower()
    told = f'<tr class="told"><td colspan="8">{safe(cut(row.told, 600)[0])}</td></tr>' if row.told else ""
    return f'<tr class="{kind}"><th scope="row">{name}{unit}</th>{plain}</tr>{told}'


def _taxes(story: "Story") -> str:
    lines = tax_lines(story.base, story.tuned)
    if not lines:
        return ""
    note = (
        "Bars are 95 % intervals of each mean; better and worse are said of the paired difference, each line by itself."
    )
    return f'<div class="cards">{multiples(lines)}</div><p class="quiet">{note}</p>'


def _items(story: "Story") -> str:
    return changes(story.base, story.tuned, told(story.base_samples, story.tuned_samples))


def _advice(verdict: Verdict | None) -> str:
    found = dict.fromkeys(each for finding in verdict.open_findings for each in finding.remedies) if verdict else {}
    return f"<ul>{''.join(f'<li>{safe(each)}</li>' for each in found)}</ul>" if found else ""


def _noise(story: "Story") -> str:
    facts: dict[str, str] = {}
    for name, report in (("base", story.base), ("tuned", story.tuned)):
        facts[name] = report.model
        facts[f"{name}: digest"] = report.model_digest
        facts[f"{name}: engine"] = report.engine
        facts |= {f"{name}: {key}": _plain(value) for key, value in report.noise.items()}
    if not (story.base.noise or story.tuned.noise):
        facts["noise of the engines"] = "not measured"
    if story.base.model_digest == story.tuned.model_digest:
        facts["note"] = "both reports are of the same weights: every difference is noise"
    return _facts(facts)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(inner) for inner in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _lineage(lineage: Mapping[str, str]) -> str:
    short = {name: text for name, text in lineage.items() if "\n" not in text}
    long = {name: text for name, text in lineage.items() if "\n" in text}
    whole = "".join(
        f"<details><summary>{safe(name)}</summary><pre>{block(text)}</pre></details>" for name, text in long.items()
    )
    return (_facts(short) if short else "") + whole


def _facts(facts: Mapping[str, str]) -> str:
    lines = "".join(f"<dt>{safe(name)}</dt><dd>{safe(cut(text, 1000)[0])}</dd>" for name, text in facts.items() if text)
    return f'<dl class="facts">{lines}</dl>'
