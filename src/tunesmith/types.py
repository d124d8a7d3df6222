"""The nouns that travel through the house. Frozen and slotted; standard library and numpy only.

Every stage takes some of these and gives some of these; nothing else crosses a stage's border.
Token arrays are one-dimensional int32; loss weights are float32 of the same length.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Role = Literal["system", "developer", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "developer", "user", "assistant", "tool")

TokenArray = NDArray[np.int32]
WeightArray = NDArray[np.float32]
BranchArray = NDArray[np.int32]
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function call the assistant makes. `arguments` is always an object, never an encoded string."""

    name: str
    arguments: Mapping[str, Any]
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, in the shape of the OpenAI chat format.

    `train` is the loss weight that the data asks for with `train_on = "per_message"`; None says nothing.
    `part_weights` does the same for stretches of the content: (number of characters, weight or None), which add up
    to the whole content; it is empty where the content came in one piece.
    """

    role: Role
    content: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    train: float | None = None
    part_weights: tuple[tuple[int, float | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """What every source becomes: messages, or a plain document (`text` set and no messages).

    `source` says where it came from (file:line), so that any later complaint can point there. `rejected` makes it a
    pair (preference data): the same conversation answered worse, with all its messages, which begin like `messages`
    and part from them at an answer; empty where there is nothing to compare. `number` is the value of the field that
    `data.number_field` names, by which a curriculum may order.
    """

    id: str
    messages: tuple[Message, ...] = ()
    text: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    source: str = ""
    rejected: tuple[Message, ...] = ()
    number: float | None = None

    @property
    def num_shared(self) -> int:
        """How many messages a pair begins with before chosen and rejected answer part."""
        pairs = zip(self.messages, self.rejected, strict=False)
        same = next((n for n, (one, other) in enumerate(pairs) if one != other), None)
        return min(len(self.messages), len(self.rejected)) if same is None else same


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something that entered a stage and did not leave it: kept in a file, with the reason."""

    id: str
    stage: str
    reason: str
    detail: str = ""
    source: str = ""
    record: Any = None


class Part(IntEnum):
    """What a token is for. Control is whatever the template writes by itself: control tokens, role names, brackets."""

    CONTROL = 0
    TEXT = 1
    REASONING = 2
    TOOL_CALL = 3


LINEAR: BranchArray = np.array([[0, -1]], np.int32)
"""The branches of a conversation that is one plain sequence."""
LINEAR.setflags(write=False)


@dataclass(frozen=True, slots=True)
class Rendered:
    """Tokens and loss weights, born in one call.

    `loss_weights[i]` is the weight of *predicting* `tokens[i]` from what stands before it; 0.0 is context. In a pair
    (preference data) the tokens of the rejected answer have negative weights.

    A conversation is usually one sequence. Where a template rewrites history, its turns have different contexts, and
    it becomes a tree: `branches` lists (start, parent) in order of start, the first start being 0; a branch runs to
    the next start and continues the token at index `parent`, which stands before it, or nothing (-1). A token sees
    its own branch so far, the branch it continues up to `parent`, and so on. With several parents of -1 the
    conversation is several sequences apart.

    `parts` (uint8, values of Part) and `messages` (int16, index of the message, -1 for the template's own text) say
    where each token comes from; None where nobody asked for them. The rejected messages of a pair are numbered on from
    the chosen ones. `source` names where the conversation comes from, for figures by source: a data file, or a part of
    a mix; empty where there is one source only. `longest` is the number of tokens of the longest sequence of the
    conversation that this is a piece of, 0 where it is whole.
    """

    conversation_id: str
    tokens: TokenArray
    loss_weights: WeightArray
    branches: BranchArray = field(default_factory=lambda: LINEAR)
    parts: NDArray[np.uint8] | None = None
    messages: NDArray[np.int16] | None = None
    source: str = ""
    longest: int = 0

    @property
    def num_tokens(self) -> int:
        return int(self.tokens.size)

    @property
    def num_supervised(self) -> int:
        return int(np.count_nonzero(self.loss_weights))

    @property
    def is_linear(self) -> bool:
        return len(self.branches) == 1

    @property
    def is_pair(self) -> bool:
        """Whether it holds a rejected answer beside the chosen one: the two are learned from together or not at all."""
        return bool((self.loss_weights < 0).any())


@dataclass(frozen=True, slots=True)
class Row:
    """Several rendered conversations end to end, without padding: one micro-batch of one optimizer step.

    All arrays but `branches` have the row's length. `segments` numbers the conversations 0, 1, 2, ...; `branches` is
    that of the conversations, moved to the row's indices, and says who sees whom: see Rendered. `positions` counts
    the tokens that a token sees, itself left out, so it restarts at 0 with each sequence. `conversation_ids`,
    `sources`, `epochs` (the pass over the data) and `longest` (the tokens of the conversation's longest sequence, also
    where this is a piece of it) have one value for each segment. `parts` is that of Rendered, None where it is unknown
    of one of the conversations.
    """

    tokens: TokenArray
    loss_weights: WeightArray
    positions: TokenArray
    segments: TokenArray
    branches: BranchArray
    conversation_ids: tuple[str, ...]
    sources: tuple[str, ...] = ()
    epochs: tuple[int, ...] = ()
    longest: tuple[int, ...] = ()
    parts: NDArray[np.uint8] | None = None

    @property
    def num_tokens(self) -> int:
        return int(self.tokens.size)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one optimizer step learns from. The rows are layout only: they never change the gradient."""

    rows: tuple[Row, ...]
    epoch: int

    @property
    def num_tokens(self) -> int:
        return sum(row.num_tokens for row in self.rows)

    @property
    def num_supervised(self) -> int:
        return sum(int(np.count_nonzero(row.loss_weights)) for row in self.rows)

    @property
    def total_weight(self) -> float:
        """The one loss normalizer: the sum of all loss weights of the optimizer step."""
        return float(sum(row.loss_weights.sum(dtype=np.float64) for row in self.rows))

    @property
    def conversation_ids(self) -> tuple[str, ...]:
        return tuple(identifier for row in self.rows for identifier in row.conversation_ids)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained state on disk: `path` is an adapter folder or a whole model folder, `digest` its content."""

    path: Path
    step: int
    digest: str
    method: Literal["lora", "full"]


@dataclass(frozen=True, slots=True)
class Score:
    """How good one completion is, a sentence that says why, and the rule that decided, where a scorer names it."""

    value: float
    explanation: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer of one model to one golden item, and its score.

    `number` counts the answers to the same item from 0. `gap` is the smallest difference between the two largest
    logits on the way, in nats: where it is tiny, another machine may answer otherwise; None where it is unknown.
    """

    task: str
    item_id: str
    cluster: str
    prompt: str
    expected: str
    completion: str
    num_tokens: int
    stopped: bool
    score: float
    explanation: str
    rule: str = ""
    number: int = 0
    gap: float | None = None


Better = Literal["higher", "lower"]
TaskGroup = Literal["task", "tax", "forgetting"]


@dataclass(frozen=True, slots=True)
class TaskReport:
    """One measured quantity of one model, a value an item: right and wrong are 1 and 0.

    With several samples an item its value is their mean, or what the task's estimate makes of them. `about` says in a
    sentence what is measured, `unit` in what (empty: a share). `skipped` is the reason why nothing was measured.
    `is_sealed`: the values stay in the vault, where only the gate reads them. In both cases `scores` is empty.
    `facts` are figures of the whole set that are no mean over items, such as macro-F1; nothing is judged by them.
    """

    task: str
    items_digest: str
    scores: Mapping[str, float]
    clusters: Mapping[str, str]
    better: Better = "higher"
    unit: str = ""
    about: str = ""
    group: TaskGroup = "task"
    skipped: str = ""
    is_sealed: bool = False
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """The mean over items; not a number where nothing was measured or nothing may be seen."""
        return sum(self.scores.values()) / len(self.scores) if self.scores else float("nan")

    @property
    def is_binary(self) -> bool:
        return bool(self.scores) and all(value in (0.0, 1.0) for value in self.scores.values())

    def by_cluster(self) -> dict[str, "TaskReport"]:
        """The same report, apart for each cluster, in order of first appearance."""
        parts: dict[str, dict[str, float]] = {}
        for item_id, value in self.scores.items():
            parts.setdefault(self.clusters[item_id], {})[item_id] = value
        return {
            name: replace(self, scores=scores, clusters=dict.fromkeys(scores, name), facts={})
            for name, scores in parts.items()
        }


@dataclass(frozen=True, slots=True)
class Report:
    """One model on all tasks. `model_digest` is what was evaluated; a name alone would prove nothing.

    `engine` names what wrote the answers, and in which mode. `noise` holds what is known of the engine's own noise.
    """

    model: str
    model_digest: str
    tasks: tuple[TaskReport, ...]
    engine: str = ""
    noise: Mapping[str, Any] = field(default_factory=dict)

    def task(self, name: str) -> TaskReport | None:
        return next((task for task in self.tasks if task.task == name), None)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Report":
        """Raises KeyError or TypeError where `data` is no report."""
        return cls(**{**data, "tasks": tuple(TaskReport(**task) for task in data["tasks"])})


Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Question = Literal["improve", "keep", "alarm"]
Harm = Literal["down", "up", "both"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One question the gate asked of one task, with the evidence.

    `harm` says which way is worse. `unit` is "points" of right or wrong, else that of the task. `difference` is tuned
    minus base on the same items; `low` and `high` bound it at the policy's confidence. `p_value` is that of "got
    better" (improve), or of a harm (keep, alarm), corrected for many questions. `resolvable` is the smallest harm that
    these items could rule out. `lost` and `gained` count the items that flipped for the worse and for the better,
    `lost_items` and `gained_items` name them (right or wrong only). `num_needed` is how many items would settle an
    INCONCLUSIVE finding if the observed difference is the true one, or None where no number would; `num_used` how many
    settled it, where the gate stopped early. Of a sealed or unmeasured task everything but the outcome and the
    explanation is left out.
    """

    task: str
    question: Question
    outcome: Outcome
    explanation: str
    margin: float
    harm: Harm = "down"
    unit: str = ""
    num_items: int = 0
    num_clusters: int | None = None
    base: float | None = None
    tuned: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    resolvable: float | None = None
    lost: int = 0
    gained: int = 0
    num_needed: int | None = None
    num_used: int | None = None
    lost_items: tuple[str, ...] = ()
    gained_items: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()

    @property
    def holds_back(self) -> bool:
        """Whether it keeps the verdict from PASS: an alarm does so only when it is raised."""
        return self.outcome == "FAIL" or (self.outcome == "INCONCLUSIVE" and self.question != "alarm")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's answer: the outcome, and every finding behind it."""

    outcome: Outcome
    model_digest: str
    baseline_digest: str
    findings: tuple[Finding, ...]

    @property
    def open_findings(self) -> tuple[Finding, ...]:
        """What keeps it from PASS, failures first."""
        return tuple(sorted((each for each in self.findings if each.holds_back), key=lambda each: each.outcome))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Verdict":
        findings = tuple(_finding(**finding) for finding in data["findings"])
        return cls(data["outcome"], data["model_digest"], data["baseline_digest"], findings)


def _finding(**fields: Any) -> Finding:
    """A finding from plain JSON, whose tuples are lists."""
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    return Finding(**plain)


@dataclass(frozen=True, slots=True)
class Entry:
    """One model in the pool. `digest` names it; `manifest` says what it is and where it came from."""

    digest: str
    path: Path
    manifest: Mapping[str, Any] = field(default_factory=dict)


class Stream(Protocol[T_co]):
    """A flow that can be resumed exactly: iterate it, ask for its state, restore that state later.

    `state()` is plain JSON. After `restore(state)` the iteration goes on with the element that would have come
    next. `fingerprint` names the content: equal fingerprints promise equal elements.
    """

    @property
    def fingerprint(self) -> str: ...

    def __iter__(self) -> Iterator[T_co]: ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: Mapping[str, Any]) -> None: ...
