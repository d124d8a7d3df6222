"""Rendering at full size: how many conversations a second become tokens and a mask, and are they the right ones?

    bare                the template, compiled once, then `encode_batch` on whole texts: no mask, nothing checked
    bare, no offsets    the same with `encode_batch_fast`, which cannot say which text a token comes from
    ours, in process    `renderer.render_many`, by 256
    ours, the stage     `tunesmith.render.render` as `tunesmith render` calls it: reads the file, starts its worker
                        processes, writes the rendered folder; its cache is off, its folder new
    TRL, num_proc=N     `SFTTrainer._prepare_dataset` with `assistant_only_loss=True` and `max_length=None` (no
                        truncation) for each N in None, 1, 2, by which alone TRL lets it be tuned; its cache is off

All have the same tokenizer, the same template and the same file of conversations. GSM8K is varied by a seeded rule
until there are `--count` distinct ones of a question and an answer; a second mix (`--long-count`) is long-tailed:
answers of GSM8K's sentences with lognormal lengths, three in ten conversations of several turns.

Each runs in a process of its own, in turns. Neither imports nor loading the tokenizer are counted; reading the file
is counted for the stage only. Memory is that of all processes of a contestant together, whatever they imported,
pages that they share counted for each. Rates are of the time that went by; ratios also of the processor's seconds on
all threads and processes, which other work on the machine disturbs least.

TRL wants an environment of its own:

    python -m venv trl-env
    trl-env/bin/pip install torch trl            # for a machine without a GPU, torch from PyTorch's CPU index
    python benchmarks/render.py --peer-python trl-env/bin/python
    python benchmarks/render.py --peer-python trl-env/bin/python --masks

`--masks` compares, row by row, the tokens of a few hundred conversations and which of them are trained. Differences
are grouped by kind, each with an example and why it is; one that none of the known kinds explains ends it with 1.
"""

import argparse
import difflib
import functools
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from common import (
    Chat,
    Stopwatch,
    gsm8k_chats,
    in_turns,
    long_tailed_chats,
    machine,
    markdown,
    median_ratio,
    one_turn,
    run_apart,
    write_model,
    write_results,
    write_rows,
)

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
RESULTS = Path(__file__).resolve().parent / "results"
BARE, BARE_FAST = "bare", "bare, no offsets"
OURS, STAGE = "ours, in process", "ours, the stage"
PEERS = {f"TRL, num_proc={number}": number for number in (None, 1, 2)}
PEER_MASKS = "TRL, masks"
NUM_AT_ONCE = 256
MAX_TOKENS = 1 << 17
NUM_WARM = 4
LONGEST_SHOWN = 200
ENVIRONMENT = {
    "TUNESMITH_RENDER_CACHE_GB": "0",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
TARGETS = {BARE: 0.70, "TRL": 3.5}


class Job(NamedTuple):
    """What a contestant is given."""

    model: Path
    rows: Path
    count: int
    scratch: Path


class Found(NamedTuple):
    """What a contestant found in one round."""

    seconds: float
    cpu_seconds: float
    num_rows: int
    num_tokens: int
    num_supervised: int | None
    versions: dict[str, str]
    peak_bytes: int = 0

    @property
    def rate(self) -> float:
        return self.num_rows / self.seconds

    @property
    def cpu_rate(self) -> float:
        return self.num_rows / self.cpu_seconds


def read_rows(job: Job) -> Iterator[Any]:
    """The job's conversations, parsed."""
    with job.rows.open(encoding="utf-8") as file:
        for line in itertools.islice(file, job.count):
            yield json.loads(line)


def batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    waiting = iter(items)
    while batch := list(itertools.islice(waiting, NUM_AT_ONCE)):
        yield batch


# The contestants, each in a process of its own


def bare(job: Job, encode: str = "encode_batch") -> Found:
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(job.model / "tokenizer.json"))
    encode_batch = getattr(tokenizer, encode)
    # The sandbox and its settings are those of transformers.
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    template = environment.from_string((job.model / "chat_template.jinja").read_text(encoding="utf-8"))

    def tokens_of(chats: Sequence[Chat]) -> list[list[int]]:
        texts = [template.render(messages=messages, tools=None, add_generation_prompt=False) for messages in chats]
        return [encoding.ids for encoding in encode_batch(texts, add_special_tokens=False)]

    watch, num_rows, num_tokens = Stopwatch(), 0, 0
    tokens_of([row["messages"] for row in itertools.islice(read_rows(job), NUM_WARM)])
    for chats in batches(row["messages"] for row in read_rows(job)):
        with watch:
            found = tokens_of(chats)
        num_rows, num_tokens = num_rows + len(found), num_tokens + sum(map(len, found))
    versions = {name: version(name) for name in ("tokenizers", "jinja2")}
    return Found(watch.seconds, watch.cpu_seconds, num_rows, num_tokens, None, versions)


def bare_fast(job: Job) -> Found:
    return bare(job, "encode_batch_fast")


def ours(job: Job) -> Found:
    from tunesmith.data import iter_conversations
    from tunesmith.render import RenderConfig, renderer_for
    from tunesmith.types import Rendered

    renderer = renderer_for(job.model, RenderConfig(max_tokens=MAX_TOKENS))
    watch, sizes, supervised = Stopwatch(), [], []
    renderer.render_many(list(itertools.islice(iter_conversations(job.rows), NUM_WARM)))
    for conversations in batches(itertools.islice(iter_conversations(job.rows), job.count)):
        with watch:
            found = renderer.render_many(conversations)
        rendered = [each for each in found if isinstance(each, Rendered)]
        if len(rendered) < len(found):
            raise SystemExit(str(next(each for each in found if not isinstance(each, Rendered))))
        sizes += [each.num_tokens for each in rendered]
        supervised += [each.num_supervised for each in rendered]
    return Found(watch.seconds, watch.cpu_seconds, len(sizes), sum(sizes), sum(supervised), our_versions())


def ours_stage(job: Job) -> Found:
    from tunesmith.files import StageFolder
    from tunesmith.render import RenderConfig, render, renderer_for

    config = RenderConfig(max_tokens=MAX_TOKENS)
    renderer = renderer_for(job.model, config)
    with tempfile.TemporaryDirectory(dir=job.scratch) as out, Stopwatch() as watch:
        facts = render(config, renderer, job.rows, StageFolder(Path(out) / "render", "render"))
    counts = facts["num_out"], facts["num_tokens"], facts["num_supervised"]
    return Found(watch.seconds, watch.cpu_seconds, *counts, our_versions())


def our_versions() -> dict[str, str]:
    from tunesmith import __version__

    return {"tunesmith": __version__, "numpy": version("numpy")}


def trainer_for(job: Job, data: Any) -> Any:
    """TRL's trainer with a model that only has to be there; by this TRL itself chooses the template for the mask."""
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
    from trl import SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(str(job.model))
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer), num_key_value_heads=1, **size))
    asked = {"assistant_only_loss": True, "max_length": None, "use_cpu": True, "bf16": False, "report_to": "none"}
    return SFTTrainer(
        model=model,
        args=SFTConfig(output_dir=str(job.scratch / "trl"), **asked),
        train_dataset=data.select(range(NUM_WARM)),
        processing_class=tokenizer,
    )


def trl_prepared(job: Job, num_proc: int | None) -> tuple[Any, Stopwatch]:
    """The dataset as TRL's trainer prepares it, with labels."""
    import datasets

    datasets.disable_caching()
    options = {"split": "train", "cache_dir": str(job.scratch / "datasets")}
    data = datasets.load_dataset("json", data_files=str(job.rows), **options)
    data = data.select_columns(["messages"])
    data = data if len(data) <= job.count else data.select(range(job.count))
    trainer = trainer_for(job, data)
    trainer.args.dataset_num_proc = num_proc
    watch = Stopwatch()
    with watch:
        made = trainer._prepare_dataset(data, trainer.processing_class, trainer.args, False, None, "train")
    return made, watch


def trl(job: Job, num_proc: int | None) -> Found:
    made, watch = trl_prepared(job, num_proc)
    num_tokens = num_supervised = 0
    for row in made:
        num_tokens += len(row["input_ids"])
        num_supervised += sum(label != -100 for label in row["labels"])
    versions = {name: version(name) for name in ("trl", "transformers", "datasets")}
    return Found(watch.seconds, watch.cpu_seconds, len(made), num_tokens, num_supervised, versions)


def trl_masks(job: Job) -> dict[str, str]:
    """Writes, for each conversation, its tokens and which of them are trained."""
    made, _ = trl_prepared(job, None)
    with masks_path(job).open("w", encoding="utf-8") as file:
        for row in made:
            trained = [label != -100 for label in row["labels"]]
            file.write(json.dumps([row["input_ids"], trained]) + "\n")
    return {"trl": version("trl"), "transformers": version("transformers")}


def masks_path(job: Job) -> Path:
    return job.rows.with_suffix(".trl.jsonl")


CONTESTANTS: dict[str, Callable[[Job], Any]] = {
    BARE: bare,
    BARE_FAST: bare_fast,
    OURS: ours,
    STAGE: ours_stage,
    **{name: functools.partial(trl, num_proc=number) for name, number in PEERS.items()},
    PEER_MASKS: trl_masks,
}


def compete(contestant: str, job: Job) -> None:
    """Inside the process of a contestant."""
    found = CONTESTANTS[contestant](job)
    print(json.dumps(found._asdict() if isinstance(found, Found) else found))


def run_contestant(contestant: str, python: str, job: Job) -> tuple[dict[str, Any], int]:
    """What a contestant said, and its memory in bytes at its peak."""
    with tempfile.TemporaryDirectory(dir=job.scratch) as scratch:
        fields = job._replace(scratch=Path(scratch))._asdict().items()
        asked = [item for name, value in fields for item in (f"--{name}", value)]
        command = [python, __file__, "--contestant", contestant, *asked]
        return run_apart(command, {**ENVIRONMENT, "HF_HOME": scratch, "TMPDIR": scratch})


# The rounds, and what comes of them


def measure(options: argparse.Namespace, jobs: dict[str, Job]) -> dict[tuple[str, str], list[Found]]:
    """All contestants in turns on each mix, `rounds` times."""
    pythons = dict.fromkeys((BARE, BARE_FAST, OURS, STAGE), sys.executable)
    pythons |= dict.fromkeys(PEERS if options.peer_python else (), options.peer_python)
    found: dict[tuple[str, str], list[Found]] = {}
    for number in range(options.rounds):
        for mix, job in jobs.items():
            for contestant in in_turns(list(pythons), number):
                count = min(job.count, options.peer_count or job.count) if contestant in PEERS else job.count
                facts, peak_bytes = run_contestant(contestant, pythons[contestant], job._replace(count=count))
                each = Found(**{**facts, "peak_bytes": peak_bytes})
                found.setdefault((mix, contestant), []).append(each)
                print(f"{mix}, {contestant}: {each.rate:,.0f} a second", file=sys.stderr, flush=True)
    check_same_work(found)
    return found


def check_same_work(found: dict[tuple[str, str], list[Found]]) -> None:
    """The texts are the same where whole texts have as many tokens."""
    for mix in {mix for mix, _ in found}:
        for contestant in (BARE_FAST, *PEERS):
            for each in found.get((mix, contestant), []):
                whole = found[mix, BARE][0]
                if each.num_rows == whole.num_rows and each.num_tokens != whole.num_tokens:
                    raise SystemExit(f"{mix}, {contestant}: {each.num_tokens} tokens, but bare {whole.num_tokens}")


def rates_table(found: dict[tuple[str, str], list[Found]]) -> str:
    rows = []
    for (mix, contestant), rounds in found.items():
        first = rounds[0]
        rate = statistics.median(each.rate for each in rounds)
        cells = [mix, contestant, f"{first.num_rows:,}", f"{first.num_tokens / first.num_rows:,.1f}"]
        cells.append("" if first.num_supervised is None else f"{first.num_supervised / first.num_rows:,.1f}")
        cells += [f"{rate:,.0f}", f"{rate * first.num_tokens / first.num_rows / 1e6:,.2f}"]
        cells.append(f"{1000 * statistics.median(1 / each.cpu_rate for each in rounds):,.3f}")
        cells.append(f"{max(each.peak_bytes for each in rounds) / 1e9:,.2f}")
        rows.append(cells)
    left = {"data": "---", "contestant": "---"}
    names = ["conversations", "tokens each", "trained each", "a second", "M tokens a second", "CPU ms each", "peak GB"]
    return markdown(left | dict.fromkeys(names, "---:"), rows)


def best_peer(found: dict[tuple[str, str], list[Found]], mix: str) -> str | None:
    """TRL's fastest setting on a mix, by the median of its rate."""
    seen = {name: found[mix, name] for name in PEERS if (mix, name) in found}
    return max(seen, key=lambda name: statistics.median(each.rate for each in seen[name]), default=None)


def ratios(found: dict[tuple[str, str], list[Found]]) -> list[dict[str, Any]]:
    """How many times the rate of the others ours has; medians of the ratios within a round."""
    rows = []
    for mix in dict.fromkeys(mix for mix, _ in found):
        for one, other in itertools.product((OURS, STAGE), (BARE, BARE_FAST, best_peer(found, mix))):
            if other is not None:
                pair = found[mix, one], found[mix, other]
                ratio, cpu_ratio = (
                    median_ratio(*([getattr(each, name) for each in rounds] for rounds in pair))
                    for name in ("rate", "cpu_rate")
                )
                target = TARGETS.get("TRL" if other in PEERS else other)
                row = {"data": mix, "ours": one, "beside": other, "ratio": ratio, "cpu_ratio": cpu_ratio}
                rows.append({**row, "target": target})
    return rows


def ratios_table(rows: Sequence[dict[str, Any]]) -> str:
    left = dict.fromkeys(("data", "ours", "beside"), "---")
    right = dict.fromkeys(("times its rate", "by CPU seconds", "target"), "---:")
    figures = [[f"{row['ratio']:.2f}", f"{row['cpu_ratio']:.2f}", row["target"] or ""] for row in rows]
    names = [[row[name] for name in left] for row in rows]
    return markdown(left | right, [[*one, *other] for one, other in zip(names, figures, strict=True)])


def compare_rates(options: argparse.Namespace, work: Path) -> None:
    gsm8k = [json.loads(line) for line in options.data.open(encoding="utf-8")]
    model = write_model(work / "model", options.tokenizer, options.template)
    mixes = {"GSM8K, varied": (gsm8k_chats, options.count), "long-tailed": (long_tailed_chats, options.long_count)}
    jobs = {}
    for mix, (chats, count) in mixes.items():
        path = work / f"{chats.__name__}-{count}-{options.seed}.jsonl"
        if count and not path.exists():
            print(f"writing {count:,} conversations: {mix}", file=sys.stderr, flush=True)
            write_rows(path, itertools.islice(chats(gsm8k, options.seed), count))
        if count:
            jobs[mix] = Job(model, path, count, work)
    host = machine({})
    found = measure(options, jobs)
    host |= {name: each for rounds in found.values() for name, each in rounds[0].versions.items()}
    facts = ", ".join(f"{name} {value}" for name, value in host.items())
    print(facts + "\n\n" + rates_table(found) + "\n\n" + ratios_table(ratios(found)))
    asked = {name: getattr(options, name) for name in ("count", "long_count", "peer_count", "rounds", "seed")}
    results = [
        {"data": mix, "contestant": contestant, "rounds": [each._asdict() for each in rounds]}
        for (mix, contestant), rounds in found.items()
    ]
    content = {"machine": host, "options": asked, "results": results, "ratios": ratios(found)}
    write_results(options.out or RESULTS / "render.json", content)


# The masks


class Masked(NamedTuple):
    """A sequence of tokens, and which of them are trained."""

    tokens: list[int]
    trained: list[bool]


class Difference(NamedTuple):
    """One place where the two are not the same; `kind` is empty where no known kind explains it."""

    kind: str
    ours: str
    theirs: str


TAIL = "messages behind the last trained one"
STOP_BREAK = "the line break behind the stop token"
HEADER_BREAK = "the line break before the answer"
MERGED = "an answer that begins with white space"
CONTROL = "a control token spelled out in a text"
APART = "turns in sequences of their own"
KEPT = "reasoning of earlier turns"
EMPTY = "empty reasoning of earlier turns"
SPELLED = "white space around reasoning that an answer spells out"
REFUSED = "refused by ours"
LINE_BREAKS = {STOP_BREAK, HEADER_BREAK}

WHY = {
    STOP_BREAK: "TRL's own version of the template closes {% generation %} behind '<|im_end|>\\n', so TRL trains the "
    "line break too, although a model that is asked stops at '<|im_end|>' and never writes it. Ours ends what is "
    "trained with the stop token, and a sequence with the last token that is trained.",
    TAIL: "Ours ends a sequence with the last token that is trained, since what follows teaches nothing. TRL keeps it.",
    HEADER_BREAK: "TRL's own version of this template opens {% generation %} between '<|im_start|>assistant' and the "
    "line break behind it, so TRL trains that line break, which the generation prompt already holds. Ours begins what "
    "is trained where the generation prompt ends.",
    MERGED: "TRL encodes the whole text, so that the line break at the end of the generation prompt and white space at "
    "the start of the answer become one token, which no model sees when it is asked: the prompt is encoded by itself "
    "then. Ours encodes the answer apart from its prompt.",
    CONTROL: "TRL encodes the template's text as one, so that a control token which a message only spells out becomes "
    "that token; transformers has a switch against it (sanitize_control_tokens) that cannot be had with the mask. "
    "Ours keeps it plain text.",
    APART: "The context of a turn is what its prompt holds when a model is asked. Where that is not the beginning of "
    "the next turn's, ours gives the turn a sequence of its own, in which the others are context. TRL trains all turns "
    "in one sequence.",
    KEPT: "Qwen3's template leaves the reasoning of earlier turns out of the history. TRL's own version of it keeps "
    "it, so that one sequence serves all turns: they are trained behind a history that no model sees when it is asked.",
    EMPTY: "Qwen3's template gives earlier turns without reasoning no <think> at all. TRL's own version of it writes "
    "an empty one into each, and trains it.",
    SPELLED: "Ours takes <think>...</think> at the start of an answer for reasoning, and where the template has no "
    "place for reasoning writes it in one spelling, with line breaks around it. TRL leaves the answer as it is.",
    REFUSED: "Ours refuses what it cannot prove, and says why; TRL trains on it.",
}


class Reader:
    """Knows the control tokens of the ChatML family, and the text of tokens."""

    def __init__(self, model: Path) -> None:
        from tokenizers import Tokenizer

        self.backend = Tokenizer.from_file(str(model / "tokenizer.json"))
        self.start, self.stop, self.think = map(self.backend.token_to_id, ("<|im_start|>", "<|im_end|>", "<think>"))
        self.header = [self.start, *self.backend.encode("assistant").ids]
        self.line_break = self.backend.encode("\n").ids

    def text(self, tokens: Sequence[int]) -> str:
        return str(self.backend.decode(list(tokens), skip_special_tokens=False))

    def shown(self, sequence: Masked, low: int, high: int) -> str:
        """Some tokens and a few around them, apart by dots; trained ones between brackets."""
        places = range(max(low - 4, 0), min(high + 3, len(sequence.tokens)))
        runs = itertools.groupby(places, key=lambda place: sequence.trained[place])
        texts = []
        for is_trained, run in runs:
            text = "·".join(self.text([sequence.tokens[place]]) for place in run)
            texts.append(f"⟦{text}⟧" if is_trained else text)
        text = repr("·".join(texts))
        return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN // 2]} ... {text[-LONGEST_SHOWN // 2 :]}"

    def turns(self, tokens: Sequence[int]) -> list[int]:
        """For each token the assistant's turn, from 1, that it stands in or behind; 0 before the first."""
        numbers, number = [], 0
        for place, token in enumerate(tokens):
            number += token == self.start and list(tokens[place : place + len(self.header)]) == self.header
            numbers.append(number)
        return numbers

    def first_turns(self, sequence: Masked, num_turns: int) -> Masked:
        """The sequence up to the stop token that ends the turn with this number; all of it where that is the last."""
        numbers = self.turns(sequence.tokens)
        if numbers[-1] <= num_turns:
            return sequence
        end = self.end_of_last_answer(Masked(sequence.tokens[: numbers.index(num_turns + 1)], sequence.trained))
        return Masked(sequence.tokens[:end], sequence.trained[:end])

    def end_of_last_answer(self, sequence: Masked) -> int:
        """The place behind the last stop token that is trained."""
        pairs = zip(*sequence, strict=False)
        return 1 + max(place for place, (token, trained) in enumerate(pairs) if token == self.stop and trained)


def differences(reader: Reader, ours: Sequence[Masked], theirs: Masked) -> list[Difference]:
    """All places in which the sequences of a conversation differ; none where they are the same."""
    found = []
    for one in ours:
        other = theirs if len(ours) == 1 else reader.first_turns(theirs, reader.turns(one.tokens)[-1])
        end = reader.end_of_last_answer(other)
        found += tail(reader, other, end)
        matcher = difflib.SequenceMatcher(None, one.tokens, other.tokens[:end], autojunk=False)
        for low, high, other_low, other_high in gathered(matcher.get_opcodes()):
            kind = kind_of_tokens(reader, one, one.tokens[low:high], other.tokens[other_low:other_high], low)
            found.append(Difference(kind, reader.shown(one, low, high), reader.shown(other, other_low, other_high)))
        for low, other_low, size in matcher.get_matching_blocks():
            found += changed_masks(reader, one, other, (low, other_low, size), is_apart=len(ours) > 1)
    return found


def tail(reader: Reader, other: Masked, end: int) -> list[Difference]:
    """What TRL has behind the last answer: ours has nothing there."""
    trained = [place for place in range(end, len(other.tokens)) if other.trained[place]]
    kinds = [STOP_BREAK if is_stop_break(reader, other, place) else "" for place in trained]
    kinds += [TAIL] if len(trained) < len(other.tokens) - end else []
    return [Difference(kind, "", reader.shown(other, end, len(other.tokens))) for kind in kinds]


def gathered(codes: Sequence[tuple[str, int, int, int, int]]) -> list[list[int]]:
    """The differing stretches, those with fewer than three equal tokens between them taken together."""
    found: list[list[int]] = []
    for code, low, high, other_low, other_high in codes:
        if code != "equal" and found and low - found[-1][1] < 3:
            found[-1][1], found[-1][3] = high, other_high
        elif code != "equal":
            found.append([low, high, other_low, other_high])
    return found


def kind_of_tokens(reader: Reader, one: Masked, ours: list[int], theirs: list[int], low: int) -> str:
    if reader.think is not None and reader.think in theirs and reader.think not in ours:
        inner = reader.text(theirs).partition("<think>")[2].partition("</think>")[0]
        return KEPT if inner.strip() else EMPTY
    if reader.text(ours) != reader.text(theirs):
        answer = reader.text(one.tokens[:low]).rpartition("<|im_start|>assistant\n")[2]
        bare_texts = ["".join(reader.text(tokens).split()) for tokens in (ours, theirs)]
        return SPELLED if answer.startswith("<think") and bare_texts[0] == bare_texts[1] else ""
    controls = {reader.start, reader.stop}
    if controls & {*theirs} and not controls & {*ours}:
        return CONTROL
    before = one.tokens[max(low - len(reader.header), 0) : low + 1]
    return MERGED if before == reader.header + reader.line_break else ""


def changed_masks(
    reader: Reader, one: Masked, other: Masked, block: tuple[int, int, int], is_apart: bool
) -> list[Difference]:
    """The differences in what is trained of equal tokens, run by run."""
    low, other_low, size = block
    turns = reader.turns(one.tokens)
    unequal = []
    for mine, place in zip(range(low, low + size), range(other_low, other_low + size), strict=True):
        if one.trained[mine] != other.trained[place]:
            kind = kind_of_mask(reader, other, place, is_earlier=is_apart and turns[mine] < turns[-1])
            unequal.append((kind, mine, place))
    firsts = [next(run) for _, run in itertools.groupby(unequal, key=lambda each: each[0])]
    return [
        Difference(kind, reader.shown(one, mine, mine + 1), reader.shown(other, place, place + 1))
        for kind, mine, place in firsts
    ]


def kind_of_mask(reader: Reader, other: Masked, place: int, is_earlier: bool) -> str:
    if not other.trained[place]:
        return ""
    if is_stop_break(reader, other, place):
        return STOP_BREAK
    if [other.tokens[place]] == reader.line_break and other.tokens[place - len(reader.header) : place] == reader.header:
        return HEADER_BREAK
    return APART if is_earlier else ""


def is_stop_break(reader: Reader, other: Masked, place: int) -> bool:
    return place > 0 and [other.tokens[place]] == reader.line_break and other.tokens[place - 1] == reader.stop


def edge_chats() -> list[Chat]:
    """What breaks masks elsewhere: white space at the edges, control tokens spelled out, no last answer."""
    question = "What is 2 + 3?"
    answers = [
        "\nFive.",
        "\n\n    five\n",
        " Five. ",
        "Five.\n",
        "",
        "五 🙂 é",
        "<|im_end|> ends a turn.",
        "<think>2 + 3</think>5",
    ]
    chats = [one_turn(question, answer) for answer in answers]
    chats.append(one_turn("Explain <|im_end|>\n<|im_start|>assistant\nto me.", "It is plain text."))
    chats.append([*one_turn(question, "Five."), {"role": "user", "content": "Thanks!"}])
    chats.append([*one_turn(question, "\nFive."), *one_turn("And 3 + 4?", "\nSeven.")])
    return chats


def reasoning_chats(rows: Sequence[dict[str, str]], count: int, seed: int) -> list[Chat]:
    """GSM8K with its working as reasoning: one turn or several, some without, some with it in their answer."""
    chats = []
    for number in range(count):
        generator = random.Random(f"reasoning {seed} {number}")
        messages: Chat = [{"role": "system", "content": "Reason first."}] if generator.random() < 0.3 else []
        for row in generator.sample(list(rows), generator.choice([1, 1, 2, 3])):
            working, _, final = row["answer"].rpartition("\n#### ")
            messages += one_turn(row["question"], final)
            way = generator.random()
            if way < 0.6:
                messages[-1]["reasoning_content"] = working
            elif way < 0.75:
                messages[-1]["content"] = f"<think>\n{working}\n</think>\n\n{final}"
        chats.append(messages)
    return chats


def our_masks(model: Path, rows: Path) -> list[list[Masked] | str]:
    """For each conversation its sequences, or why there are none."""
    from tunesmith.branches import split
    from tunesmith.data import iter_conversations
    from tunesmith.render import RenderConfig, renderer_for
    from tunesmith.types import Rendered

    renderer = renderer_for(model, RenderConfig(max_tokens=MAX_TOKENS, layout="split"))
    return [
        [Masked(each.tokens.tolist(), (each.loss_weights > 0).tolist()) for each in split(found)]
        if isinstance(found, Rendered)
        else str(found)
        for found in renderer.render_many(list(iter_conversations(rows)))
    ]


class Compared(NamedTuple):
    """One set of conversations, and for each the differences."""

    data: str
    num_trained: tuple[int, int]
    """Trained tokens of ours and of TRL."""
    num_same_tokens: int
    versions: dict[str, str]
    by_row: list[list[Difference]]


def compare_masks(python: str, data: str, model: Path, chats: Sequence[Chat], work: Path) -> Compared:
    rows = work / f"masks-{data.replace(' ', '-')}.jsonl"
    write_rows(rows, chats)
    job = Job(model, rows, len(chats), work)
    versions, _ = run_contestant(PEER_MASKS, python, job)
    theirs = [Masked(*json.loads(line)) for line in masks_path(job).open(encoding="utf-8")]
    reader, by_row, num_same, trained = Reader(model), [], 0, [0, sum(sum(each.trained) for each in theirs)]
    for one, other in zip(our_masks(model, rows), theirs, strict=True):
        if isinstance(one, str):
            by_row.append([Difference(REFUSED, one, reader.shown(other, 0, len(other.tokens)))])
            continue
        by_row.append(differences(reader, one, other))
        num_same += [each.tokens for each in one] == [other.tokens]
        trained[0] += sum(sum(each.trained) for each in one)
    return Compared(data, (trained[0], trained[1]), num_same, versions, by_row)


def masks_table(compared: Sequence[Compared]) -> str:
    names = ["conversations", "the same", "but for line breaks", "same tokens", "trained, ours", "trained, TRL"]
    rows = []
    for each in compared:
        kinds = [{one.kind for one in found} for found in each.by_row]
        counts = len(kinds), sum(not found for found in kinds), sum(found <= LINE_BREAKS for found in kinds)
        rows.append([each.data, *(f"{count:,}" for count in (*counts, each.num_same_tokens, *each.num_trained))])
    return markdown({"data": "---"} | dict.fromkeys(names, "---:"), rows)


def kinds_report(compared: Sequence[Compared]) -> str:
    """Each kind of difference that was found: where, how often, the first example, and why it is."""
    lines = []
    for kind, why in {**WHY, "": "NOT EXPLAINED: look at the example"}.items():
        found = {each.data: [[one for one in row if one.kind == kind] for row in each.by_row] for each in compared}
        places = {data: (sum(map(bool, rows)), sum(map(len, rows))) for data, rows in found.items()}
        if not any(number for _, number in places.values()):
            continue
        first = next(one for rows in found.values() for row in rows for one in row)
        lines += [f"\n{kind or 'UNKNOWN'}"]
        lines += [f"    {data}: {rows} rows, {number} places" for data, (rows, number) in places.items() if number]
        lines += [f"    ours  {first.ours or '(nothing)'}", f"    TRL   {first.theirs}", textwrap.indent(why, "    ")]
    return "\n".join(lines)


def compare_all_masks(options: argparse.Namespace, work: Path) -> int:
    """Prints all comparisons; 1 where a difference is left unexplained."""
    if not options.peer_python:
        raise SystemExit("--masks compares with TRL: name the python of its environment with --peer-python")
    gsm8k = [json.loads(line) for line in options.data.open(encoding="utf-8")]
    model = write_model(work / "qwen2.5", options.tokenizer, options.template)
    template = peer_template(options.peer_python, "qwen3")
    thinking = write_model(work / "qwen3", options.tokenizer, template, ["<think>", "</think>"])
    size, seed = options.mask_count, options.seed
    sets = {
        "Qwen2.5, one turn": (model, list(itertools.islice(gsm8k_chats(gsm8k, seed), size))),
        "Qwen2.5, long-tailed": (model, list(itertools.islice(long_tailed_chats(gsm8k, seed), size))),
        "Qwen2.5, edges": (model, edge_chats()),
        "Qwen3, reasoning": (thinking, reasoning_chats(gsm8k, size, seed)),
    }
    compared = [compare_masks(options.peer_python, data, *each, work) for data, each in sets.items()]
    versions = our_versions() | compared[0].versions
    facts = ", ".join(f"{name} {value}" for name, value in versions.items())
    print(facts + "\n\n" + masks_table(compared) + "\n" + kinds_report(compared))
    results = [
        {**each._asdict(), "by_row": [[one._asdict() for one in row] for row in each.by_row]} for each in compared
    ]
    content = {"machine": machine(versions), "options": {"mask_count": size, "seed": seed}, "why": WHY}
    content["results"] = results
    write_results(options.out or RESULTS / "render_masks.json", content)
    return int(any(not one.kind for each in compared for row in each.by_row for one in row))


def peer_template(python: str, name: str) -> Path:
    """A template as TRL knows it: of Qwen3's it takes this edition only."""
    code = "import importlib.util; print(importlib.util.find_spec('trl').origin)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip()).parent / "chat_templates" / f"{name}.jinja"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200_000, help="conversations of GSM8K, varied; 0 for none")
    parser.add_argument(
        "--long-count", type=int, default=50_000, help="conversations of the long-tailed mix; 0 for none"
    )
    parser.add_argument("--peer-python", help="the python of an environment with trl; left out: without TRL")
    parser.add_argument("--peer-count", type=int, help="only so many of the same for TRL, which is slow")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--masks", action="store_true", help="compare the masks, not the rates")
    parser.add_argument("--mask-count", type=int, default=120, help="conversations of each kind for --masks")
    parser.add_argument("--data", type=Path, default=SHARED / "gsm8k" / "train.jsonl", help="GSM8K's train.jsonl")
    parser.add_argument("--tokenizer", type=Path, default=SHARED / "tokenizers" / "qwen2", help="a folder")
    parser.add_argument("--template", type=Path, default=SHARED / "chat_templates" / "Qwen-Qwen2.5-7B-Instruct.jinja")
    parser.add_argument("--work", type=Path, help="keep the conversations here for another time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    for name in ("contestant", "model", "rows", "scratch"):
        parser.add_argument(f"--{name}", type=Path if name != "contestant" else str, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        return compete(options.contestant, Job(options.model, options.rows, options.count, options.scratch))
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        if options.masks:
            raise SystemExit(compare_all_masks(options, work))
        compare_rates(options, work)


if __name__ == "__main__":
    main()
