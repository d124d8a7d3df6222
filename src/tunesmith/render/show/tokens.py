"""What rendered tokens say and what they are for, token by token."""

from collections.abc import Iterator

from tunesmith.render import Renderer
from tunesmith.render.show.views import Sheet
from tunesmith.types import Conversation, Message, Part, TokenArray

MOST_BYTES = 4  # of one character in UTF-8

TRAINED_KINDS = ("text", "reasoning", "tool call", "markup", "end")
CONTEXT_KINDS = ("system", "developer", "user", "assistant", "tool", "context", "template", "control")
KINDS = (*TRAINED_KINDS, *CONTEXT_KINDS, "cut")
"""What a token is to the trainer.

Trained: text, reasoning, tool call, markup that the template writes around them, or a control token such as the end.
Context: a message by its role, text of the template or one of its control tokens, or unknown. Or it is cut away.
"""

_TRAINED = {Part.CONTROL: "markup", Part.TEXT: "text", Part.REASONING: "reasoning", Part.TOOL_CALL: "tool call"}


class Reader:
    """What a renderer's tokens say, token by token."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._texts: dict[int, str] = {}
        self._control: dict[int, bool] = {}

    def token_text(self, token: int) -> str:
        """The text of one token alone; half a character is U+FFFD."""
        if token not in self._texts:
            self._texts[token] = self._renderer.text([token], skip_control=False)
        return self._texts[token]

    def is_control(self, token: int) -> bool:
        """Whether the token's text is only shown on demand."""
        if token not in self._control:
            self._control[token] = bool(self.token_text(token)) and not self._renderer.text([token])
        return self._control[token]

    def pieces(self, tokens: TokenArray) -> list[str]:
        """The text of each token, such that all of them joined are the text of the tokens together.

        A character that is spread over several tokens stands with the last of them, the others being empty.
        """
        ids = tokens.tolist()
        alone = [self.token_text(token) for token in ids]
        if "".join(alone) == self._renderer.text(ids, skip_control=False):
            return alone
        return list(self._grown(ids))

    def _grown(self, ids: list[int]) -> Iterator[str]:
        """What each token adds to the text before it; decoded in a short window, since spaces depend on neighbors."""
        begin, said = 0, ""
        for index, token in enumerate(ids):
            text = self._renderer.text(ids[begin : index + 1], skip_control=False)
            if text.endswith("�") and index - begin < MOST_BYTES and index + 1 < len(ids):
                yield ""
                continue
            yield text[len(said) :]
            begin, said = index, self.token_text(token)


def all_messages(conversation: Conversation) -> tuple[Message, ...]:
    """The messages in the order in which Rendered numbers them: a pair's rejected answer behind the chosen one."""
    return (*conversation.messages, *conversation.rejected[conversation.num_shared :])


def kinds(conversation: Conversation, sheet: Sheet, reader: Reader) -> list[str]:
    """The kind of each token of a sheet, one of KINDS; without parts and messages, what weights and text tell."""
    rendered = sheet.rendered
    parts = rendered.parts.tolist() if rendered.parts is not None else [None] * rendered.num_tokens
    owners = rendered.messages.tolist() if rendered.messages is not None else [-1] * rendered.num_tokens
    roles = [message.role for message in all_messages(conversation)]
    found = []
    for token, weight, part, owner, is_cut in zip(
        rendered.tokens.tolist(), rendered.loss_weights.tolist(), parts, owners, sheet.cut.tolist(), strict=True
    ):
        is_control = reader.is_control(token)
        if is_cut:
            found.append("cut")
        elif weight:
            found.append("end" if is_control else "text" if part is None else _TRAINED[Part(part)])
        elif is_control or part == Part.CONTROL:
            found.append("control" if is_control else "template")
        else:
            found.append(roles[owner] if 0 <= owner < len(roles) else "context")
    return found
