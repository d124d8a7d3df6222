"""Multiple choice as in MMLU (Hendrycks et al. 2021) and ARC (Clark et al. 2018): the likeliest choice is the answer.

Two ways of asking. `letters`: the choices stand in the prompt behind A, B, ..., and the letters are priced. `texts`:
the question stands alone, and the choices' own texts are priced, which the scorer choice_by_byte makes comparable.

Records: `question`; `choices`, a list, or {"text": [...], "label": [...]}; `answer` or `answerKey`, a letter, a label,
an index from 0, or the choice's text. MMLU's own tables have no names: question, four choices, letter. A field
`subject` (or the name of the file) becomes the cluster.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

from tunesmith.errors import EvaluateError
from tunesmith.verify.benchmarks.records import DELIMITERS, read_records, read_rows, wanted, wanted_text
from tunesmith.verify.items import Item, item_from_record

HEADED = ("question", "choices", "answer")
REQUEST = "Answer with the letter of the right choice alone."


class Question(NamedTuple):
    """A question with its choices; `right` is the index of the right one."""

    text: str
    choices: tuple[str, ...]
    right: int
    cluster: str
    place: str


def letters(path: Path) -> list[Item]:
    """Asked in a chat; the letter is priced as the beginning of the reply."""
    return [_item(n, each, _listed(each, REQUEST), _letters(each, "")) for n, each in enumerate(questions(path))]


def plain_letters(path: Path) -> list[Item]:
    """Asked as a plain text that ends with `Answer:`; the letter is priced behind a space."""
    return [
        _item(n, each, _listed(each, "Answer:"), _letters(each, " "), True) for n, each in enumerate(questions(path))
    ]


def texts(path: Path) -> list[Item]:
    """Asked in a chat; the choice's text is priced as the beginning of the reply."""
    return [_item(n, each, each.text, each.choices) for n, each in enumerate(questions(path))]


def plain_texts(path: Path) -> list[Item]:
    """Asked as a plain text, `Question: ...` and `Answer:`; the choice's text is priced behind a space."""
    return [
        _item(n, each, f"Question: {each.text}\nAnswer:", [f" {choice}" for choice in each.choices], True)
        for n, each in enumerate(questions(path))
    ]


def questions(path: Path) -> Iterator[Question]:
    """The questions of a data file, in file order."""
    if any(suffix in DELIMITERS for suffix in path.suffixes):
        rows = read_rows(path)
        if rows and not {name.strip().lower() for name in rows[0]} & {"question", "answer"}:
            yield from (_of_row(row, f"{path}:{n}", path) for n, row in enumerate(rows, 1))
            return
    for place, record in read_records(path):
        offered = wanted(record, ("choices", "options"), place)
        labels = offered.get("label") if isinstance(offered, dict) else None
        offered = offered.get("text") if isinstance(offered, dict) else offered
        choices = _checked(offered, place)
        answer = wanted(record, ("answer", "answerKey", "answer_key"), place)
        right = _right(answer, choices, labels or list(ascii_uppercase), place)
        cluster = str(record.get("subject") or record.get("category") or path.name.split(".")[0])
        yield Question(wanted_text(record, ("question",), place).strip(), choices, right, cluster, place)


def _of_row(row: Sequence[str], place: str, path: Path) -> Question:
    if len(row) < 4:
        raise EvaluateError(f"{place}: expected a question, two choices or more and a letter, not {len(row)} columns")
    choices = _checked(list(row[1:-1]), place)
    right = _right(row[-1].strip(), choices, list(ascii_uppercase), place)
    return Question(row[0].strip(), choices, right, path.name.split(".")[0], place)


def _checked(offered: Any, place: str) -> tuple[str, ...]:
    if not isinstance(offered, list) or not 2 <= len(offered) <= len(ascii_uppercase):
        raise EvaluateError(f"{place}: choices must be 2 to {len(ascii_uppercase)} texts, not {offered!r:.80}")
    return tuple(str(each).strip() for each in offered)


def _right(answer: Any, choices: tuple[str, ...], labels: Sequence[Any], place: str) -> int:
    """The index of the right choice, told by label, index from 0, or text."""
    named = [str(label) for label in labels[: len(choices)]]
    if isinstance(answer, str) and answer in named:
        return named.index(answer)
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
        return answer
    if isinstance(answer, str) and answer.strip() in choices:
        return choices.index(answer.strip())
    if isinstance(answer, str) and answer.isdigit() and int(answer) < len(choices):
        return int(answer)
    raise EvaluateError(f"{place}: the answer {answer!r} names none of the {len(choices)} choices")


def _listed(question: Question, end: str) -> str:
    lines = [f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, question.choices, strict=False)]
    return "\n".join([question.text, *lines, end])


def _letters(question: Question, before: str) -> list[str]:
    return [f"{before}{letter}" for letter in ascii_uppercase[: len(question.choices)]]


def _item(number: int, question: Question, prompt: str, choices: Sequence[str], is_plain: bool = False) -> Item:
    asked = {"text": prompt} if is_plain else {"messages": [{"role": "user", "content": prompt}]}
    record = {
        "id": f"{question.cluster}-{number}",
        "cluster": question.cluster,
        **asked,
        "choices": list(choices),
        "answer": {"type": "choice", "value": choices[question.right]},
    }
    return item_from_record(record, question.place)
