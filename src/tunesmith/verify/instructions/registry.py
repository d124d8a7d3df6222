"""All instructions by name: the 25 published ones of IFEval, and our own for the built-in sets."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.errors import EvaluateError
from tunesmith.verify.instructions import content, layout, lengths, shape, wording
from tunesmith.verify.instructions.findings import Finding

LANGUAGE_INSTRUCTIONS = ("language:response_language", "change_case:english_capital", "change_case:english_lowercase")

# The names and arguments are those of Zhou et al., Instruction-Following Evaluation for LLMs (2023).
PUBLISHED: Mapping[str, Callable[..., Finding]] = {
    "keywords:existence": content.existence,
    "keywords:frequency": content.frequency,
    "keywords:forbidden_words": content.forbidden_words,
    "keywords:letter_frequency": content.letter_frequency,
    "language:response_language": wording.response_language,
    "length_constraints:number_sentences": lengths.number_sentences,
    "length_constraints:number_paragraphs": lengths.number_paragraphs,
    "length_constraints:number_words": lengths.number_words,
    "length_constraints:nth_paragraph_first_word": lengths.nth_paragraph_first_word,
    "detectable_content:number_placeholders": content.number_placeholders,
    "detectable_content:postscript": content.postscript,
    "detectable_format:number_bullet_lists": shape.number_bullet_lists,
    "detectable_format:constrained_response": shape.constrained_response,
    "detectable_format:number_highlighted_sections": shape.number_highlighted_sections,
    "detectable_format:multiple_sections": shape.multiple_sections,
    "detectable_format:json_format": shape.json_format,
    "detectable_format:title": shape.title,
    "combination:two_responses": shape.two_responses,
    "combination:repeat_prompt": wording.repeat_prompt,
    "startend:end_checker": wording.end_checker,
    "startend:quotation": wording.quotation,
    "change_case:capital_word_frequency": wording.capital_word_frequency,
    "change_case:english_capital": wording.english_capital,
    "change_case:english_lowercase": wording.english_lowercase,
    "punctuation:no_comma": wording.no_comma,
}
OWN: Mapping[str, Callable[..., Finding]] = {
    "own:bare_number": layout.bare_number,
    "own:code_block": layout.code_block,
    "own:comma_list": layout.comma_list,
    "own:csv_lines": layout.csv_lines,
    "own:end_phrase": wording.end_phrase,
    "own:exact_lines": lengths.exact_lines,
    "own:exact_sentences": lengths.exact_sentences,
    "own:exact_words": lengths.exact_words,
    "own:json_keys": layout.json_keys,
    "own:json_list": layout.json_list,
    "own:key_value_lines": layout.key_value_lines,
    "own:line_prefix": layout.line_prefix,
    "own:lower_case": wording.lower_case,
    "own:mentions": content.mentions,
    "own:no_digits": content.no_digits,
    "own:no_preamble": wording.no_preamble,
    "own:numbered_list": layout.numbered_list,
    "own:one_of": wording.one_of,
    "own:only_bullets": layout.only_bullets,
    "own:secret_kept": content.secret_kept,
    "own:start_phrase": wording.start_phrase,
    "own:table": layout.table,
    "own:upper_case": wording.upper_case,
    "own:wrapped": wording.wrapped,
}
INSTRUCTIONS: Mapping[str, Callable[..., Finding]] = {**PUBLISHED, **OWN}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of an item: its name, and the arguments of its check."""

    id: str
    arguments: Mapping[str, Any]

    def check(self, text: str) -> Finding:
        """Whether `text` follows it; an empty text follows nothing."""
        if not text.strip():
            return Finding(False, "an empty answer")
        return INSTRUCTIONS[self.id](text, **self.arguments)


def instructions_of(record: Mapping[str, Any]) -> list[Instruction]:
    """The instructions in `checker` of an item's record; raises EvaluateError for what no check knows."""
    checker = record.get("checker")
    listed = checker.get("instructions") if isinstance(checker, dict) else None
    if not isinstance(listed, list) or not listed:
        raise EvaluateError(
            'the item needs a checker such as {"instructions": [{"id": "own:exact_words", "num_words": 3}]}, '
            f"not {checker!r}"
        )
    return [_instruction(raw) for raw in listed]


def _instruction(raw: Any) -> Instruction:
    if not isinstance(raw, dict) or raw.get("id") not in INSTRUCTIONS:
        name = raw.get("id") if isinstance(raw, dict) else raw
        nearest = difflib.get_close_matches(str(name), INSTRUCTIONS, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(INSTRUCTIONS)}"
        raise EvaluateError(f"no instruction {name!r}; {hint}")
    arguments = {key: value for key, value in raw.items() if key != "id" and value is not None}
    _check_arguments(raw["id"], arguments)
    return Instruction(raw["id"], arguments)


def _check_arguments(name: str, arguments: Mapping[str, Any]) -> None:
    known = [key for key in inspect.signature(INSTRUCTIONS[name]).parameters.values() if key.kind is key.KEYWORD_ONLY]
    needed = {key.name for key in known if key.default is key.empty}
    unknown = [key for key in arguments if key not in {one.name for one in known}]
    missing = sorted(needed - set(arguments))
    if unknown or missing:
        seen = f"does not know {unknown[0]!r}" if unknown else f"needs {missing[0]!r}"
        accepted = ", ".join(key.name for key in known) or "none"
        raise EvaluateError(f"the instruction {name!r} {seen}; its arguments: {accepted}")
