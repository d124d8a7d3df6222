"""Strict and loose verdicts, as published: loose forgives a first line, a last line and markdown's asterisks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunesmith.errors import SkippedError
from tunesmith.verify.instructions.findings import Finding
from tunesmith.verify.instructions.languages import can_detect
from tunesmith.verify.instructions.registry import LANGUAGE_INSTRUCTIONS, Instruction, instructions_of

Mode = Literal["strict", "loose"]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The findings on one answer, one an instruction, in the item's order."""

    instructions: tuple[Instruction, ...]
    findings: tuple[Finding, ...]

    @property
    def all_followed(self) -> bool:
        return all(finding.followed for finding in self.findings)

    @property
    def first_missed(self) -> str | None:
        """The name of the first instruction that is not followed."""
        return next((one.id for one, seen in self._pairs() if not seen.followed), None)

    @property
    def sentence(self) -> str:
        """What was seen, the first instruction that is not followed in front."""
        missed = [f"{one.id}: {seen.seen}" for one, seen in self._pairs() if not seen.followed]
        if not missed:
            return f"it follows {_all(len(self.findings))}."
        return f"it follows {len(self.findings) - len(missed)} of {len(self.findings)}; not {'; not '.join(missed)}."

    def _pairs(self) -> list[tuple[Instruction, Finding]]:
        return list(zip(self.instructions, self.findings, strict=True))


def judged(record: Mapping[str, Any], completion: str, mode: Mode) -> Verdicts:
    """Check a completion against every instruction of an item's `checker`.

    Loose: an instruction is followed when any of the eight forms follows it; the finding is that form's, or else
    that of the answer as it is. Raises SkippedError for an instruction about languages without langdetect.
    """
    instructions = instructions_of(record)
    for instruction in instructions:
        if instruction.id in LANGUAGE_INSTRUCTIONS and not can_detect():
            raise SkippedError(
                f"{instruction.id} needs the package 'langdetect', which is not installed. "
                "Install it with: pip install 'tunesmith[ifeval]'"
            )
    forms = loose_forms(completion) if mode == "loose" else [completion]
    return Verdicts(tuple(instructions), tuple(_first_followed(one, forms) for one in instructions))


def loose_forms(completion: str) -> list[str]:
    """The answer as it is, without its first line, its last, or both; each also without asterisks. No form twice."""
    lines = completion.split("\n")
    cut = [completion, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return list(dict.fromkeys(cut + [form.replace("*", "") for form in cut]))


def _first_followed(instruction: Instruction, forms: list[str]) -> Finding:
    found = [instruction.check(forms[0])]
    for form in forms[1:]:
        if found[-1].followed:
            break
        found.append(instruction.check(form))
    return found[-1] if found[-1].followed else found[0]


def _all(count: int) -> str:
    return "the instruction" if count == 1 else f"all {count} instructions"
