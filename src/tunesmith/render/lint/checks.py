"""The table of all checks of `tunesmith lint`, in the order of its report. A new check is a class and a line here."""

from tunesmith.render.lint import Check
from tunesmith.render.lint.ends import Bos, PadToken, StopTokens
from tunesmith.render.lint.messages import EmptyAnswers, Reasoning, Records, Roles, Spaces
from tunesmith.render.lint.repeats import Duplicates, SamePrompt
from tunesmith.render.lint.texts import Characters, ControlText
from tunesmith.render.lint.tokens import Length, NothingTrained, Refused, SupervisedShare
from tunesmith.render.lint.tools import ToolArguments
from tunesmith.render.lint.truncation import Truncation

CHECKS: tuple[type[Check], ...] = (
    Records,
    Refused,
    NothingTrained,
    SupervisedShare,
    Length,
    Truncation,
    StopTokens,
    Bos,
    PadToken,
    Roles,
    EmptyAnswers,
    Reasoning,
    ToolArguments,
    Spaces,
    ControlText,
    Characters,
    Duplicates,
    SamePrompt,
)
