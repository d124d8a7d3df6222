"""Do tunesmith's IFEval checks say what lm-evaluation-harness's say, item by item?

Both judge the same answers, strictly and loosely: thousands of made answers for each of the 25 instructions, odd ones
among them, and with `--data` an answer or more for each published item. `--peer` is a Python that can import
`lm_eval.tasks.ifeval` (`pip install lm_eval[ifeval]`, with nltk's punkt_tab); it runs in a process of its own, its
langdetect seeded. Every difference is listed; docs/instructions.md explains those that are known.

    python benchmarks/ifeval.py --peer /path/to/other/venv/bin/python --data input_data.jsonl --out differences.jsonl
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PEER_CODE = """
import json, logging, sys
import langdetect
langdetect.DetectorFactory.seed = 0
logging.disable(logging.CRITICAL)
from lm_eval.tasks.ifeval import utils
for line in sys.stdin:
    case = json.loads(line)
    try:
        found = utils.process_results(case, [case["response"]])
        print(json.dumps([found["inst_level_strict_acc"], found["inst_level_loose_acc"]]))
    except Exception as error:
        print(json.dumps(type(error).__name__))
"""
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "keywords:existence": [{"keywords": ["tree", "river"]}, {"keywords": ["naïve"]}, {"keywords": ["ice cream"]}],
    "keywords:frequency": [
        {"keyword": "tree", "relation": "at least", "frequency": 2},
        {"keyword": "tree", "relation": "less than", "frequency": 2},
    ],
    "keywords:forbidden_words": [{"forbidden_words": ["tree"]}, {"forbidden_words": ["it's", "the"]}],
    "keywords:letter_frequency": [
        {"letter": "e", "let_relation": "less than", "let_frequency": 6},
        {"letter": "S", "let_relation": "at least", "let_frequency": 3},
    ],
    "language:response_language": [{"language": "en"}, {"language": "de"}, {"language": "hi"}, {"language": "ar"}],
    "length_constraints:number_sentences": [
        {"relation": relation, "num_sentences": count}
        for relation in ("at least", "less than")
        for count in (1, 2, 3, 4, 6)
    ],
    "length_constraints:number_paragraphs": [{"num_paragraphs": 1}, {"num_paragraphs": 2}, {"num_paragraphs": 3}],
    "length_constraints:number_words": [
        {"relation": "at least", "num_words": 12},
        {"relation": "less than", "num_words": 8},
    ],
    "length_constraints:nth_paragraph_first_word": [
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Tree"},
        {"num_paragraphs": 3, "nth_paragraph": 1, "first_word": "the"},
        {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "don't"},
    ],
    "detectable_content:number_placeholders": [{"num_placeholders": 1}, {"num_placeholders": 3}],
    "detectable_content:postscript": [
        {"postscript_marker": "P.S."},
        {"postscript_marker": "P.P.S"},
        {"postscript_marker": "NB"},
    ],
    "detectable_format:number_bullet_lists": [{"num_bullets": count} for count in (1, 2, 3)],
    "detectable_format:constrained_response": [{}],
    "detectable_format:number_highlighted_sections": [{"num_highlights": count} for count in (1, 2, 4)],
    "detectable_format:multiple_sections": [
        {"section_spliter": "SECTION", "num_sections": 2},
        {"section_spliter": "Day", "num_sections": 1},
    ],
    "detectable_format:json_format": [{}],
    "detectable_format:title": [{}],
    "combination:two_responses": [{}],
    "combination:repeat_prompt": [{"prompt_to_repeat": "Tell me of a TREE."}],
    "startend:end_checker": [{"end_phrase": "Any other questions?"}, {"end_phrase": "the tree"}],
    "startend:quotation": [{}],
    "change_case:capital_word_frequency": [
        {"capital_relation": "at least", "capital_frequency": 2},
        {"capital_relation": "less than", "capital_frequency": 2},
        {"capital_relation": "at least", "capital_frequency": 4},
    ],
    "change_case:english_capital": [{}],
    "change_case:english_lowercase": [{}],
    "punctuation:no_comma": [{}],
}
# What made answers are put together from: pieces that mean something to an instruction, and pieces that nearly do.
LISTED = """
the tree|The tree|TREE|trees|a river|RIVER|street|It's late|it's|DON'T|CANNOT|NASA's|U.S.|Dr. Smith|Mr. T. Jones
e.g. this|No. 3|3. Third|1. First|2.5 kg|12 p.m. We left|at 5 a.m. in|I. The|vitamin C. It|Ph.D. student
Inc. was|etc. And|Wait...|What?!|Really!?|"Yes."|'Go!' he said|(See there.)|He left.”|End.*|**Bold end.**|!!|??
. . .|…|Yes. no.|A.B.C.|www.tree.org|* one|*one|- two|-two| * three|\t- four|** five|***|*|-|--|* |- |•x|+ six
****|******|*high*|**strong**|***both***|* not high *|[name]|[a|b]|[a]b]|[]|[[x]]|<<Title>>|<<T|>>|<<>>|<< >>
<<<A>>>|SECTION 1|SECTION2|Section 1|SECTION X|Day 1|day 2|SECTION  4|P.S. More|p. s. more|P.P.S. More|P.P.S
PS more|p.p. s|NB|nb: more|My answer is yes.|My answer is maybe|my answer is no.|"|""|'|“|”|,|;|:|;)|0|7|é|ß|ẞ|Ω
İ|ǅ|日本語。|das ist ein Baum und ein Fluss|यह एक पेड़ है|هذه شجرة|это дерево|ceci est un arbre|{"a": 1}|{"a": NaN}
[1, 2]|```json|```|```JSON|{|}|null|"text"|01|Any other questions?|any other QUESTIONS?|Any other questions? "
Tell me of a tree.|TELL ME OF A TREE.|Sure! Here it is:|Hope that helps
this is a longer line of plain english words|THIS IS A LONGER LINE OF PLAIN ENGLISH WORDS|I'M HERE|WE'LL SEE
GONNA|CO-OP|A/B|$US|#TAG|@HOME|X.|V.I.P.|B2B|iOS|Ⅷ
"""
PIECES = LISTED.replace("\n", "|").strip("|").split("|")
JOINS = (" ", " ", " ", "\n", "\n", "\n\n", "", " \n", "\n \n", "\t", "\u00a0", "\r\n", "\x0b", "\u2028")
WHOLE = (
    '"{}"', '{{"answer": "{}"}}', "```json\n[\"{}\"]\n```", "Sure!\n{}", "{}\nHope that helps!", "*{}*",
    "**Title**\n{}",
    "{}\n\nP.S. {}", "{}\n\nP.P.S {}", "{}******{}", "{}\n***\n{}", "<<{}>>\n{}", "Tell me of a tree. {}",
    "{} Any other questions?", "The first.\n\nTree is next {}", "tree {}\n\ntree {}", "{}",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="a Python that can import lm_eval.tasks.ifeval")
    parser.add_argument("--data", type=Path, help="IFEval's input_data.jsonl")
    parser.add_argument("--answers", type=int, default=400, help="made answers for each instruction and arguments")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where every difference is written, one JSON object a line")
    options = parser.parse_args()
    cases = [*made_cases(options.answers, options.seed), *data_cases(options.data, options.seed)]
    differences = compare(cases, options.peer)
    show(cases, differences)
    if options.out:
        options.out.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in differences))


def made_cases(num_answers: int, seed: int) -> Iterator[dict[str, Any]]:
    """One instruction a case: its id, its arguments and an answer."""
    for name, choices in ARGUMENTS.items():
        draw = random.Random(f"{seed} {name}")
        for arguments in choices:
            for answer in [*PIECES, *(made_answer(draw) for _ in range(num_answers))]:
                yield _case([name], [arguments], "Tell me of a tree.", answer)


def data_cases(path: Path | None, seed: int) -> Iterator[dict[str, Any]]:
    """Each published item with the prompt itself as an answer, and with made ones."""
    if path is None:
        return
    draw = random.Random(seed)
    items = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for item in items:
        others = " ".join(draw.choice(items)["prompt"] for _ in range(3))
        for answer in (item["prompt"], others, made_answer(draw), f"{made_answer(draw)}\n\n{item['prompt']}\n{others}"):
            yield _case(item["instruction_id_list"], item["kwargs"], item["prompt"], answer)


def made_answer(draw: random.Random) -> str:
    pieces = [draw.choice(PIECES) + draw.choice(JOINS) for _ in range(draw.choice((1, 2, 3, 5, 8, 13, 21)))]
    body = "".join(pieces)
    kind = draw.random()
    body = body.upper() if kind < 0.15 else body.lower() if kind < 0.3 else body
    return draw.choice(WHOLE).format(*[body] * 2) if draw.random() < 0.6 else body


def _case(names: Sequence[str], arguments: Sequence[dict[str, Any]], prompt: str, answer: str) -> dict[str, Any]:
    return {"key": 0, "instruction_id_list": names, "kwargs": arguments, "prompt": prompt, "response": answer}


def compare(cases: Sequence[dict[str, Any]], peer: str) -> list[dict[str, Any]]:
    """Every verdict that differs, one an instruction and mode."""
    theirs = peer_verdicts(cases, peer)
    return [
        {"instruction": name, "mode": mode, "ours": mine, "theirs": other, **case}
        for case, found in zip(cases, theirs, strict=True)
        for mode, mine_all, other_all in zip(("strict", "loose"), own_verdicts(case), _spread(found), strict=True)
        for name, mine, other in zip(case["instruction_id_list"], mine_all, other_all or mine_all, strict=True)
        if other_all is None or mine != other
    ]


def _spread(found: Any) -> tuple[list[bool] | None, list[bool] | None]:
    """The peer's verdicts; None twice where it raised an error."""
    return (None, None) if isinstance(found, str) else (found[0], found[1])


def own_verdicts(case: dict[str, Any]) -> list[list[bool]]:
    from tunesmith.verify.instructions import judged

    listed = zip(case["instruction_id_list"], case["kwargs"], strict=True)
    record = {"checker": {"instructions": [{"id": name, **arguments} for name, arguments in listed]}}
    verdicts = (judged(record, case["response"], mode) for mode in ("strict", "loose"))
    return [[finding.followed for finding in each.findings] for each in verdicts]


def peer_verdicts(cases: Sequence[dict[str, Any]], peer: str) -> list[Any]:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as asked:
        asked.writelines(json.dumps(case) + "\n" for case in cases)
        asked.seek(0)
        done = subprocess.run([peer, "-c", PEER_CODE], stdin=asked, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{peer} ended with {done.returncode}; can it import lm_eval.tasks.ifeval and find punkt_tab?")
    return [json.loads(line) for line in done.stdout.splitlines()]


def show(cases: Sequence[dict[str, Any]], differences: Sequence[dict[str, Any]]) -> None:
    asked = Counter(name for case in cases for name in case["instruction_id_list"])
    differing: dict[str, Counter[str]] = defaultdict(Counter)
    for each in differences:
        differing[each["instruction"]][each["mode"]] += 1
    print(f"{'instruction':48} {'answers':>8} {'strict':>8} {'loose':>8}  verdicts that differ")
    for name in sorted(asked):
        print(f"{name:48} {asked[name]:8} {differing[name]['strict']:8} {differing[name]['loose']:8}")
    print(f"{'all':48} {sum(asked.values()):8} {len(differences):8} of {2 * sum(asked.values())} verdicts")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
    main()
