"""Instructions: the 25 published ones and our own, strict and loose, on plain, odd and hostile answers."""

import inspect
import json
import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.errors import EvaluateError, SkippedError
from tunesmith.verify.instructions import (
    INSTRUCTIONS,
    OWN,
    PUBLISHED,
    Instruction,
    content,
    instructions_of,
    judge,
    judged,
    languages,
    loose_forms,
    shape,
)
from tunesmith.verify.instructions.sentences import sentences
from tunesmith.verify.instructions.words import capital_words

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "ifeval" / "input_data.jsonl"

# Instruction, arguments, answers that follow it, answers that do not.
CASES = [
    ("keywords:existence", {"keywords": ["tree", "sea"]}, ["Trees by the SEA"], ["a tree", "se a tree"]),
    (
        "keywords:frequency",
        {"keyword": "tree", "relation": "at least", "frequency": 2},
        ["Tree, streets", "tree Tree"],
        ["tree"],
    ),
    ("keywords:frequency", {"keyword": "a.b", "relation": "less than", "frequency": 1}, ["axb"], ["a.b"]),
    ("keywords:forbidden_words", {"forbidden_words": ["tree"]}, ["street trees"], ["A Tree."]),
    ("keywords:letter_frequency", {"letter": "E", "let_relation": "less than", "let_frequency": 2}, ["tea"], ["eE"]),
    ("keywords:letter_frequency", {"letter": "#", "let_relation": "at least", "let_frequency": 2}, ["# #"], ["#"]),
    (
        "language:response_language",
        {"language": "de"},
        ["Der Hund schläft heute im Garten hinter dem Haus.", "12"],
        ["The dog sleeps in the garden behind the house today."],
    ),
    (
        "length_constraints:number_sentences",
        {"relation": "less than", "num_sentences": 2},
        ["Dr. Smith left at 5 p.m. on Mr. T. Jones", "Well... we saw 2.5 m."],
        ["One. Two.", "What?! No."],
    ),
    (
        "length_constraints:number_sentences",
        {"relation": "at least", "num_sentences": 2},
        ["(One.) two", "A? b"],
        ["One. ", "one"],
    ),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["a\n***\nb", "***a***b***"],
        ["a", "a***", "a*** ***b"],
    ),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, ["one two"], ["don't go"]),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Tree"},
        ["a\n\n'tree's b", 'a\n\n"Tree," b'],
        ["a\n\nb", "tree", "a\n\n\n\ntree", "a\n\ntree\n\nb"],
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["[a] [b]", "[[a] []"], ["[a]", "[a\n] [b]"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["a\np. s. b", "x P.S."], ["PS", "p.s"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["a P.P.S b", "p. p.s"], ["P.S."]),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* a\n* b", "- a\n\n  - b\nc", "*a\n-"],
        ["* a", "** a\n* b", "• a\n• b"],
    ),
    ("detectable_format:constrained_response", {}, ["Well, My answer is no."], ["my answer is no."]),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*a* *b*", "**a** *b*"],
        ["*a*", "** *a*"],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Day", "num_sections": 2},
        ["Day 1\nDay2"],
        ["Day one"],
    ),
    (
        "detectable_format:json_format",
        {},
        ['{"a": 1}', "```json\n[1]\n```", "7"],
        ["{a: 1}", "[" * 100_000, 'x {"a": 1}'],
    ),
    ("detectable_format:title", {}, ["<<A>> b", "<<<A>>>"], ["<<>>", "<<A\n>>", "<A>"]),
    (
        "combination:two_responses",
        {},
        ["a******b", "******a ****** b******"],
        ["a", "a******a", "a************b", "a******b******c"],
    ),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi. "}, ["say HI. hi"], ["Sure! Say hi."]),
    ("startend:end_checker", {"end_phrase": "The end."}, ["It is THE END.", '"x the end."'], ["The end. Bye"]),
    ("startend:quotation", {}, [' "a" '], ['"', '"a', "“a”"]),
    (
        "change_case:capital_word_frequency",
        {"capital_relation": "at least", "capital_frequency": 2},
        ["A DOG", "DON'T", "(CO-OP) NASA's"],
        ["CO-OP", "Dog", "A/B"],
    ),
    (
        "change_case:english_capital",
        {},
        ["THE DOG SLEEPS IN THE GARDEN"],
        ["THE DOG Sleeps", "DER HUND SCHLÄFT IM GARTEN HINTER DEM HAUS"],
    ),
    ("change_case:english_lowercase", {}, ["the dog sleeps in the garden"], ["The dog", "12"]),
    ("punctuation:no_comma", {}, ["a; b"], ["a, b"]),
    ("own:bare_number", {"value": 1200}, ["1,200", " 1200. "], ["1200 m", "12", "one", "1" * 100]),
    ("own:code_block", {}, ["```py\nx = 1\n```"], ["x = 1", "Here:\n```\nx\n```", "```x```"]),
    ("own:comma_list", {"num_items": 3}, ["a, b, c"], ["a, b", "a, b, c\nd", "a,, c"]),
    ("own:csv_lines", {"num_columns": 2, "num_lines": 2}, ["a,b\nc,d"], ["a,b", "a,b\nc", "a b\nc d"]),
    ("own:end_phrase", {"phrase": "Done!"}, ["ok. Done! "], ["Done! ok", "done!"]),
    ("own:exact_lines", {"num_lines": 2}, ["a\n\nb\n"], ["a b"]),
    ("own:exact_sentences", {"num_sentences": 2}, ["Hi there. Bye."], ["Hi.", "A cat. A dog. An owl."]),
    ("own:exact_words", {"num_words": 2}, ["don't go"], ["go", "do not go"]),
    (
        "own:json_keys",
        {"keys": ["a", "b"]},
        ['{"b": 1, "a": 2}'],
        ['{"a": 1}', '```json\n{"a":1,"b":2}\n```', "[1]", "{" * 50_000],
    ),
    ("own:json_list", {"num_items": 2}, ["[1, 2]"], ["[1]", '{"a": 1}', "1, 2"]),
    (
        "own:key_value_lines",
        {"keys": ["Name", "Age"]},
        ["name: Bo\n\nAge: 7"],
        ["Name: Bo", "Age: 7\nName: Bo", "Name:\nAge: 7"],
    ),
    ("own:line_prefix", {"prefix": ">"}, ["> a\n> b"], ["> a\nb"]),
    ("own:lower_case", {}, ["ein hund"], ["Ein hund", "12"]),
    ("own:mentions", {"words": ["Paris", "7"]}, ["in paris.", "it is 7."], ["Parisian", "17"]),
    ("own:no_digits", {}, ["seven"], ["7"]),
    ("own:no_preamble", {}, ["Paris"], ["Sure! Paris", "Here’s one", "  **Certainly**, Paris"]),
    ("own:numbered_list", {"num_items": 2}, ["1. a\n2) b"], ["1. a", "1. a\n3. b", "List:\n1. a\n2. b"]),
    ("own:one_of", {"options": ["yes", "no"]}, ["Yes.", '"no"'], ["yes, it is", "maybe"]),
    ("own:only_bullets", {"num_bullets": 2}, ["- a\n- b", "* a\n\n• b"], ["- a", "Here:\n- a\n- b"]),
    ("own:secret_kept", {"secret": "Marigold"}, ["No."], ["it is marigold", "m-a-r-i-g-o-l-d", "dlogiram"]),
    ("own:start_phrase", {"phrase": "Dear Sam,"}, ["Dear Sam, hi"], ["Hi. Dear Sam,"]),
    (
        "own:table",
        {"num_columns": 2, "num_rows": 1},
        ["| a | b |\n|---|:-:|\n| 1 | 2 |"],
        ["a | b", "| a | b |\n| 1 | 2 |", "| a | b |\n|---|---|"],
    ),
    ("own:upper_case", {}, ["EIN HUND"], ["EIN Hund", "12"]),
    ("own:wrapped", {"opening": "<b>", "closing": "</b>"}, ["<b>x</b>"], ["<b></b>", "<b>x</b> y", "<b>x</b><b>y</b>"]),
]

HOSTILE = [
    "[",
    "]",
    "*",
    "* ",
    "*\n",
    "**",
    "***",
    "******",
    "\n",
    " \n",
    "\n\n",
    "-",
    "- \n",
    "<<",
    "<<<>",
    "<< >>",
    '"',
    "'",
    "a.",
    "a. ",
    ". ",
    "..",
    "?!",
    ".)",
    "A ",
    "A' ",
    "can't ",
    "p.",
    "p. ",
    "P.S. ",
    "{",
    '{"a":',
    "[1,",
    "1",
    "1.",
    "1,",
    "Day 1",
    "Day ",
    "|",
    "| a ",
    "|-",
    "```",
    "```json",
    "\t",
    "\u2028",
    "İ",
    "ß",
    "日",
    "e\u0301",
    "\u200d",
    "\x00",
    "\ud800",
    "http://a",
    "a@a",
    "sure",
    "U.S. ",
    "a-",
]


def check(name, text, arguments):
    return Instruction(name, arguments).check(text).followed


def test_every_instruction_has_cases():
    assert {name for name, *_ in CASES} == set(INSTRUCTIONS)
    assert len(PUBLISHED) == 25
    assert not set(PUBLISHED) & set(OWN)


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), CASES, ids=lambda value: str(value)[:30])
def test_verdicts(name, arguments, good, bad):
    for text in good:
        assert check(name, text, arguments), text
    for text in bad:
        assert not check(name, text, arguments), text
    assert not check(name, " \n", arguments), "an empty answer follows nothing"


@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
def test_hostile_answers_end_quickly(piece):
    """A check whose work grew with the square of the length would take longer by far."""
    text = piece * (40_000 // len(piece))
    for name, arguments, *_ in CASES:
        began = time.process_time()
        found = Instruction(name, arguments).check(text)
        assert time.process_time() - began < 3, name
        assert isinstance(found.followed, bool)
        assert len(found.seen) < 300


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(HOSTILE), max_size=12).map("".join))
def test_no_answer_crashes_a_check_and_loose_is_never_stricter(text):
    for name, arguments, *_ in CASES:
        if name.startswith(("language", "change_case:english")):
            continue  # slow, and covered above
        record = {"checker": {"instructions": [{"id": name, **arguments}]}}
        strict, loose = judged(record, text, "strict"), judged(record, text, "loose")
        assert loose.all_followed >= strict.all_followed
        assert strict.all_followed == (strict.first_missed is None)


BULLET_TEXT = st.text(alphabet="*- \n\ta\x0b\r", max_size=24)


@settings(max_examples=400)
@given(BULLET_TEXT)
def test_bullets_are_counted_as_the_published_patterns_count(text):
    stars = len(re.findall(r"^\s*\*[^\*].*$", text, re.MULTILINE))
    dashes = len(re.findall(r"^\s*-.*$", text, re.MULTILINE))
    assert shape._num_bullets(text, "*") == stars
    assert shape._num_bullets(text, "-") == dashes


@settings(max_examples=300)
@given(st.text(alphabet="[]<> \na", max_size=16))
def test_placeholders_and_titles_are_found_as_the_published_patterns_find(text):
    placeholders = len(re.findall(r"\[.*?\]", text))
    titled = any(found.lstrip("<").rstrip(">").strip() for found in re.findall(r"<<[^\n]+>>", text))
    assert shape.title(text).followed == titled
    assert content.number_placeholders(text, num_placeholders=placeholders).followed
    assert not content.number_placeholders(text, num_placeholders=placeholders + 1).followed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("no end", ["no end"]),
        ("Hi! (Yes.) Go", ["Hi!", "(Yes.)", "Go"]),
        ("He said “go.” Then he left.", ["He said “go.”", "Then he left."]),
        (
            "Mr. A. Smith of the U.S. Navy paid $3.50 at 9 a.m. today.",
            ["Mr. A. Smith of the U.S. Navy paid $3.50 at 9 a.m. today."],
        ),
        ("1. Read it.\n2. Write it.", ["1.", "Read it.", "2.", "Write it."]),
        ("Wait... what? Wait... So go.", ["Wait... what?", "Wait...", "So go."]),
        ("**Bold.** Next", ["**Bold.", "** Next"]),
    ],
)
def test_sentences(text, expected):
    assert sentences(text) == expected


@settings(max_examples=200)
@given(st.lists(st.sampled_from([*HOSTILE, "Dr.", "word ", "End. ", "So "]), max_size=12).map("".join))
def test_sentences_lose_no_character(text):
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


def test_capital_words():
    found = capital_words("The U.S. NAVY isn't A-OK, DON'T \"CANNOT\" (X:Y) 3M aB A/b IT'S. WE'LL.")
    assert found == ["U.S.", "NAVY", "A-OK", "DO", "N'T", "CAN", "NOT", "X", "Y", "3M", "IT", "'S", "WE", "'LL"]


def test_loose_forms():
    assert loose_forms("Sure!\n*a*\nBye") == [
        "Sure!\n*a*\nBye",
        "*a*\nBye",
        "Sure!\n*a*",
        "*a*",
        "Sure!\na\nBye",
        "a\nBye",
        "Sure!\na",
        "a",
    ]
    assert loose_forms("a") == ["a", ""]


@pytest.mark.parametrize("answer", ["Sure!\nred", "red\nBye", "Sure!\nred\nBye", "*red*", "Sure!\n*red*\nBye"])
def test_loose_forgives_a_preamble_a_closing_line_and_asterisks(answer):
    record = {
        "checker": {
            "instructions": [
                {"id": "own:exact_words", "num_words": 1},
                {"id": "startend:end_checker", "end_phrase": "red"},
            ]
        }
    }
    assert not judged(record, answer, "strict").all_followed
    assert judged(record, answer, "loose").all_followed


def test_each_instruction_may_need_another_loose_form():
    record = {"checker": {"instructions": [{"id": "own:start_phrase", "phrase": "Sure!"}, {"id": "own:lower_case"}]}}
    verdicts = judged(record, "Sure!\nred", "loose")
    assert [finding.followed for finding in verdicts.findings] == [True, True]


@pytest.mark.parametrize(
    ("checker", "words"),
    [
        (None, "needs a checker"),
        ({"instructions": []}, "needs a checker"),
        ({"instructions": [{"id": "punctuation:no_coma"}]}, "did you mean 'punctuation:no_comma'"),
        ({"instructions": [{"id": "own:exact_words"}]}, "needs 'num_words'"),
        ({"instructions": [{"id": "own:exact_words", "num_words": 2, "colour": 1}]}, "does not know 'colour'"),
    ],
)
def test_items_that_no_check_can_read(checker, words):
    with pytest.raises(EvaluateError, match=re.escape(words)):
        instructions_of({"checker": checker})


def test_an_unknown_relation_is_an_error():
    record = {
        "checker": {"instructions": [{"id": "length_constraints:number_words", "relation": "more", "num_words": 1}]}
    }
    with pytest.raises(EvaluateError, match="'at least' or 'less than'"):
        judged(record, "a", "strict")


@pytest.mark.parametrize("name", sorted(judge.LANGUAGE_INSTRUCTIONS))
def test_without_langdetect_languages_are_skipped_by_name_whatever_the_answer(name, monkeypatch):
    monkeypatch.setattr(judge, "can_detect", lambda: False)
    arguments = {"language": "en"} if name.startswith("language") else {}
    record = {"checker": {"instructions": [{"id": "punctuation:no_comma"}, {"id": name, **arguments}]}}
    for answer in ("", "Mixed Case, with a comma", "plain"):
        with pytest.raises(SkippedError, match=name):
            judged(record, answer, "strict")


def test_a_language_is_a_function_of_the_text():
    """Whatever the process drew before, and whatever seed others set."""
    import langdetect

    texts = ["Otec matka syn", "no one sun", "la mer et le vent", "der die das the", "12", ""]
    found = []
    for seed in (None, 3, 0):
        langdetect.DetectorFactory.seed = seed
        random.seed(seed)
        languages.language_of.cache_clear()
        found.append([languages.language_of(text) for text in texts])
    langdetect.DetectorFactory.seed = None
    assert found[0] == found[1] == found[2]
    assert found[0][-2:] == [None, None]


@pytest.mark.skipif(not DATA.is_file(), reason="the published data are not here")
def test_every_published_item_can_be_judged():
    rows = [json.loads(line) for line in DATA.open(encoding="utf-8")]
    seen = set()
    for row in rows:
        listed = [
            {"id": name, **kwargs} for name, kwargs in zip(row["instruction_id_list"], row["kwargs"], strict=True)
        ]
        seen |= {each.id for each in instructions_of({"checker": {"instructions": listed}})}
        verdicts = judged({"checker": {"instructions": listed}}, row["prompt"], "strict")
        assert len(verdicts.findings) == len(listed)
    assert seen == set(PUBLISHED)


def test_the_page_lists_every_instruction_with_its_arguments_and_its_own_words():
    page = (Path(__file__).parents[2] / "docs" / "instructions.md").read_text(encoding="utf-8")
    for name, function in INSTRUCTIONS.items():
        arguments = [
            f"`{key}`"
            for key, value in inspect.signature(function).parameters.items()
            if value.kind is value.KEYWORD_ONLY
        ]
        about = " ".join(inspect.getdoc(function).split())
        assert f"| `{name}` | {', '.join(arguments)} | {about} |" in page
