"""The scorers `ifeval_strict` and `ifeval_loose`: are all instructions of an item's checker followed?"""

from typing import Any

from tunesmith.verify.instructions.judge import Mode, judged

FOLLOWED = "followed"


def ifeval_strict(item: dict[str, Any], completion: str) -> tuple[float, str, str]:
    """Right when the answer, as it is, follows every instruction. The rule is the first that is not followed."""
    return _scored(item, completion, "strict")


def ifeval_loose(item: dict[str, Any], completion: str) -> tuple[float, str, str]:
    """Like `ifeval_strict`, but a first line, a last line and asterisks are forgiven where that helps."""
    return _scored(item, completion, "loose")


def _scored(item: dict[str, Any], completion: str, mode: Mode) -> tuple[float, str, str]:
    verdicts = judged(item, completion, mode)
    return float(verdicts.all_followed), verdicts.sentence, verdicts.first_missed or FOLLOWED
