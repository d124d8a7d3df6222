"""Answers that are equal in meaning: "twenty-six" is 26, 5 km are 5000 m, 26% is not 26.

`equal` is the scorer; `KINDS` names the types of answers it knows. The cascade: the same spelling, the parsers of
the answer's type on the place where the completion gives its answer, aliases. Each score names the rule that decided.
"""

from tunesmith.verify.equivalence.cascade import equal
from tunesmith.verify.equivalence.kinds import KINDS

__all__ = ["KINDS", "equal"]
