"""A renderer without tokenizer or template, for tests of what stands around one: each word is a token."""

import zlib

import numpy as np

from tunesmith.errors import RenderError
from tunesmith.types import Conversation, Message, Part, Rendered

BOS, START, STOP, END = 1, 2, 3, 4
ROLES = {"system": 5, "developer": 6, "user": 7, "assistant": 8, "tool": 9}


class WordRenderer:
    """Trains answers and their stop tokens; a conversation with the word `refuse` is refused."""

    name = "words"
    stop_tokens = (STOP,)

    def __init__(self, bos=False, train_on="assistant"):
        self.bos_token = BOS if bos else None
        self.train_on = train_on
        self.num_rendered = 0

    @property
    def fingerprint(self):
        return f"words {self.bos_token} {self.train_on}"

    def render_many(self, conversations):
        found = []
        for conversation in conversations:
            try:
                found.append(self.render(conversation))
            except RenderError as error:
                found.append(error)
        return found

    def render(self, conversation):
        self.num_rendered += 1
        if conversation.text is not None:
            return self._document(conversation)
        last = max((n for n, each in enumerate(conversation.messages) if each.role == "assistant"), default=-1)
        columns = [(BOS, 0.0, Part.CONTROL, -1)] if self.bos_token else []
        for number, message in enumerate(conversation.messages):
            if "refuse" in message.content.split():
                raise RenderError(f"{conversation.source} ({conversation.id}): the word 'refuse' in message {number}")
            is_trained = message.role == "assistant" and (self.train_on != "last_turn" or number == last)
            weight = float(is_trained or self.train_on == "all")
            columns += [(START, weight if self.train_on == "all" else 0.0, Part.CONTROL, -1)]
            columns += [(ROLES[message.role], 0.0, Part.CONTROL, -1)]
            columns += [(token_of(word), weight, Part.TEXT, number) for word in message.content.split()]
            columns += [(STOP, weight, Part.CONTROL, number)]
        columns[0] = (columns[0][0], 0.0, *columns[0][2:])
        return _rendered(conversation.id, columns)

    def _document(self, conversation):
        columns = [(token_of(word), 1.0, Part.TEXT, -1) for word in conversation.text.split()]
        columns += [(END, 1.0, Part.CONTROL, -1)]
        columns[0] = (columns[0][0], 0.0, *columns[0][2:])
        return _rendered(conversation.id, columns)


def token_of(word):
    return 10 + zlib.crc32(word.encode()) % 50_000


def _rendered(identifier, columns):
    tokens, weights, parts, messages = zip(*columns, strict=True)
    return Rendered(
        identifier,
        np.array(tokens, np.int32),
        np.array(weights, np.float32),
        parts=np.array(parts, np.uint8),
        messages=np.array(messages, np.int16),
    )


def example(number, words=3, source="train.jsonl"):
    """A conversation with content of its own."""
    question = Message("user", f"what comes after {number} ?")
    answer = Message("assistant", f"{number + 1} " + "yes " * words)
    return Conversation(f"c{number}", (question, answer), source=f"{source}:{number + 1}")


def examples(count, start=0, **options):
    return [example(number, **options) for number in range(start, start + count)]


def turns(*contents, system=None, identifier="c0", source="train.jsonl:1"):
    """A conversation whose user and assistant take turns."""
    leading = (Message("system", system),) if system else ()
    roles = ("user", "assistant")
    messages = tuple(Message(roles[number % 2], content) for number, content in enumerate(contents))
    return Conversation(identifier, leading + messages, source=source)


def same(first, second):
    """Whether two Rendered teach the same, up to what a file does not keep."""
    return (
        first.conversation_id == second.conversation_id
        and np.array_equal(first.tokens, second.tokens)
        and np.array_equal(first.loss_weights, second.loss_weights)
        and np.array_equal(first.branches, second.branches)
        and (first.parts is None) == (second.parts is None)
        and (first.parts is None or np.array_equal(first.parts, second.parts))
    )
