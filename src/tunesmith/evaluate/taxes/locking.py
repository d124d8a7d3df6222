"""Style-locking: a plain text, without a chat template around it, must be continued and not answered."""

from tunesmith.evaluate.taxes.sets import CONTINUATIONS
from tunesmith.evaluate.taxes.tax import Answer, Tax, each_answer
from tunesmith.verify.continuing import CHAT, continues


def goes_on(answer: Answer) -> float:
    """1.0 when the text goes on as expected."""
    return continues(dict(answer.item.record), answer.text)[0]


def chats(answer: Answer) -> float:
    """1.0 when the continuation announces itself as a chat answer does."""
    return float(continues(dict(answer.item.record), answer.text)[2] == CHAT)


CONTINUATION = Tax(
    name="continuation",
    panel_set=CONTINUATIONS,
    about="Share of plain texts, such as '1, 2, 3, 4,', that are continued as they go on.",
    better="higher",
    unit="",
    measure=each_answer(goes_on),
)
STYLE_LOCKING = Tax(
    name="style_locking",
    panel_set=CONTINUATIONS,
    about="Share of plain texts that are answered as in a chat ('Sure!', 'Here is') instead of being continued.",
    better="lower",
    unit="",
    measure=each_answer(chats),
)
