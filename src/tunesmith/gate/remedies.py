"""What can be done about a finding: the means that the field knows against what was seen, the nearest first."""

from tunesmith.gate.evidence import Evidence
from tunesmith.types import Outcome

KEEPS_OLD_ABILITIES = (
    "replay: mix general conversations in, best with the base's own answers (mix.replay)",
    "a lower learning rate (train.learning_rate)",
    "fewer passes over the data (train.epochs)",
    'an adapter instead of all weights (train.method = "lora")',
    "a step back towards the base: tunesmith merge --sweep 0.25,0.5,0.75 shows what each step keeps",
)
TEACHES_MORE = (
    "more examples like the items that stayed wrong",
    "more passes over the data (train.epochs)",
    "a higher learning rate (train.learning_rate)",
)
FITS_TAX = (
    ("length", "training answers whose length is that of the answers you want"),
    ("refusal", "training data with harmless requests that sound dangerous, answered"),
    ("compliance", "training data with harmful requests, declined"),
    ("repetition", "training answers that end with their stop token (tunesmith lint names those that do not)"),
    ("loops", "training answers that end with their stop token (tunesmith lint names those that do not)"),
)


def remedies(seen: Evidence, outcome: Outcome, num_needed: int | None) -> tuple[str, ...]:
    """What to try for one finding; nothing for a PASS."""
    if outcome == "PASS":
        return ()
    if outcome == "INCONCLUSIVE":
        more = (f"more items: about {num_needed:,} in all",) if num_needed else ()
        return (*more, *(_engine(seen)), *(TEACHES_MORE if seen.question == "improve" else KEEPS_OLD_ABILITIES[-1:]))
    if seen.question == "improve":
        return TEACHES_MORE
    return (*(advice for part, advice in FITS_TAX if part in seen.task), *KEEPS_OLD_ABILITIES)


def _engine(seen: Evidence) -> tuple[str, ...]:
    return ("a deterministic engine, or several seeds more: noise widened the interval",) if seen.is_widened else ()
