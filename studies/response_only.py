"""Does a model follow instructions that was never shown one? Response-only tuning beside instruction tuning.

Response-only tuning trains p(response) behind an empty user message (`render.train_on = "response_only"`; Hewitt et
al. 2024, "Instruction following without instruction tuning", where it is called response tuning). Three arms:

    base             the model as it is, untouched
    assistant        ordinary instruction tuning: the responses, given their instructions
    response_only    the same responses, the instructions left out

Both tuned arms see the same conversations (drawn from Self-Instruct's 427 human-written tasks, a part held out) in
the same order, for as many epochs, with the same settings. A seed decides the adapter's initial weights and the order
of conversations; what is held out is the same for all. Each arm is judged by

    followed         share of prompts whose greedy answer passes every check of a program (verifiable_instructions.py)
    held-out loss    mean loss of held-out responses given their instructions, in nats per token, stop token included
    loss, empty      the same responses behind an empty user message: what response_only trains, and so the sign that
                     its training took hold
    continued        style locking: share of plain texts, given without a chat template ("1, 2, 3, 4,"), that the model
                     goes on with, rather than answering or remarking on them

The base is NOT pretrained only: the default model is SmolLM2-135M-Instruct, tuned by its makers to follow
instructions. The paper's question, whether response-only tuning makes a model follow instructions that did not, can
therefore not be answered here. What can: how much of a chat model's behavior each way of tuning keeps, changes or
adds to, and how far apart the two ways are. Other differences to the paper: LoRA in place of all weights, 135 million
weights in place of 7 billion, a fixed number of epochs, and checks by program in place of a judge's preference.

Differences between arms are given with two intervals at 95 %: over seeds (Student's t, paired by seed), which says
what another training run might give, and over items (paired by prompt, conversation or text, averaged over seeds),
which says what other items might. A difference counts as shown only where neither interval includes zero. There are
twelve comparisons, and the intervals are not widened for their number.

    python studies/response_only.py           # data from ../shared/data, results to runs/studies/response_only
    python studies/response_only.py --smoke   # the whole path on next to nothing: the figures mean nothing

A model whose result.json exists is neither trained nor judged again, as long as nothing that it depends on changed;
training that was interrupted goes on from its last checkpoint.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparison import (
    BASE,
    Difference,
    Measure,
    compare,
    differences_table,
    machine,
    of_arm,
    reading,
    spelled,
    weighted_mean,
)
from one_model import losses, read_result, speaker, train_seconds, tuned
from pairs import SELF_INSTRUCT, Pair, conversation_of, draw, read_self_instruct, sort_out
from verifiable_instructions import CONTINUATIONS, INSTRUCTIONS, is_continued, is_followed

from tunesmith.data import DataConfig, iter_conversations
from tunesmith.errors import TunesmithError
from tunesmith.files import atomic_write, file_digest, fingerprint, write_json, write_jsonl
from tunesmith.generate import Prompt, Sampling
from tunesmith.model import ModelConfig, tokenizer_folder
from tunesmith.pack import PackConfig
from tunesmith.pipeline import Run
from tunesmith.progress import format_seconds
from tunesmith.recipe import Recipe
from tunesmith.render import RenderConfig, renderer_for
from tunesmith.train import TrainConfig
from tunesmith.types import Checkpoint, Message

if TYPE_CHECKING:
    from tunesmith.generate.local import LocalGenerator

REPOSITORY = Path(__file__).resolve().parents[1]
TUNED = ("assistant", "response_only")
PAIRS = (("response_only", "assistant"), ("assistant", BASE), ("response_only", BASE))
MEASURES = (
    Measure("followed", "followed", 1.0),
    Measure("loss", "held-out loss", 0.0),
    Measure("loss_empty", "loss, empty", 0.0),
    Measure("continued", "continued", 1.0),
)
HOLDOUT = 0.15
CONTINUED_TOKENS = 12
VERSION = 1  # raise it when a model would be judged otherwise: results are then made anew
# Twice what one thread did on a busy server core with bfloat16 instructions; only the estimate depends on them.
TRAINED_TOKENS_PER_SECOND, JUDGED_SECONDS = 370, 45
START = (
    "The base is a post-trained model (it already follows instructions), because no pretrained one was at hand: "
    "these figures say what each way of tuning keeps or changes in a chat model, not whether response-only tuning "
    "makes a model follow instructions that did not."
)


def note(model: str) -> str:
    """What the choice of base does to the question."""
    if model == ModelConfig().name:
        return START
    return f"The base is {model}. Where it was tuned to follow instructions before, as the default model was: {START}"


# The plan: which conversations, which runs


@dataclass(frozen=True, slots=True)
class Study:
    """What was asked for, and the conversations that it comes to."""

    out: Path
    model: ModelConfig
    seeds: tuple[int, ...]
    epochs: float
    batch_conversations: int
    max_tokens: int
    new_tokens: int
    num_instructions: int

    @property
    def source(self) -> Path:
        return self.out / "source.jsonl"

    def recipe(self, arm: str, seed: int) -> Recipe:
        """One run. The data are equal in all of them, so the held-out part is too."""
        return Recipe(
            name=run_name(arm, seed),
            data=DataConfig(paths=(str(self.source.resolve()),), format="prompt_completion", holdout=HOLDOUT),
            model=self.model,
            render=RenderConfig(train_on="response_only" if arm == "response_only" else "assistant"),
            pack=PackConfig(batch_conversations=self.batch_conversations, seed=seed),
            train=TrainConfig(epochs=self.epochs, seed=seed),
        )

    def runs(self) -> list[tuple[str, int]]:
        """Arm and seed of every model; seed by seed, so that a study cut short still compares arms."""
        return [(BASE, 0), *((arm, seed) for seed in self.seeds for arm in TUNED)]


def run_name(arm: str, seed: int) -> str:
    return arm if arm == BASE else f"{arm}-seed{seed}"


def prepare(study: Study, data: Path, count: int) -> dict[str, Any]:
    """Write the study's conversations and what was dropped; returns the facts that the plan and the results tell."""
    folder = tokenizer_folder(study.model)
    whole, alone = (renderer_for(folder, study.recipe(arm, 0).render) for arm in TUNED)

    def length(pair: Pair) -> int:
        return whole.render(conversation_of(pair)).num_tokens

    drawn = draw(read_self_instruct(data), count)
    kept, dropped = sort_out(drawn, length, study.max_tokens)
    write_jsonl(study.source, kept)
    write_jsonl(study.out / "dropped.jsonl", dropped)
    tokens = [sum(each.render(conversation_of(pair)).num_tokens for pair in kept) for each in (whole, alone)]
    return {
        "num_drawn": len(drawn),
        "num_dropped": len(dropped),
        "num_conversations": len(kept),
        "num_tokens": dict(zip(TUNED, tokens, strict=True)),
        "source_digest": file_digest(study.source),
        "files": {name: file_digest(data / "self_instruct" / name) for name in SELF_INSTRUCT},
    }


def print_plan(study: Study, facts: dict[str, Any]) -> None:
    """What will be done, and about how long it takes."""
    todo = [each for each in study.runs() if known_result(study, *each, facts["source_digest"]) is None]
    tokens = sum(facts["num_tokens"].get(arm, 0) * (1 - HOLDOUT) * study.epochs for arm, _ in todo)
    seconds = tokens / TRAINED_TOKENS_PER_SECOND + len(todo) * JUDGED_SECONDS
    print(f"{note(study.model.name)}\n")
    print(
        f"plan      {facts['num_conversations']:,} conversations ({facts['num_dropped']:,} of {facts['num_drawn']:,} "
        f"dropped), {HOLDOUT:.0%} held out; epochs: {study.epochs:g}; seeds {', '.join(map(str, study.seeds))}"
    )
    print(
        f"plan      {len(todo)} of {len(study.runs())} models to do: {tokens:,.0f} tokens to train, then each is "
        f"asked {study.num_instructions} prompts and {len(CONTINUATIONS)} texts"
    )
    print(
        f"plan      about {format_seconds(seconds)} on two free cores (at {TRAINED_TOKENS_PER_SECOND:,} tokens a "
        f"second and {JUDGED_SECONDS} s to judge a model)\n",
        flush=True,
    )


# One model: train it, judge it


def result_of(study: Study, arm: str, seed: int, source_digest: str) -> dict[str, Any]:
    """The result of one model: read back where it exists, else made and written."""
    name = run_name(arm, seed)
    known = known_result(study, arm, seed, source_digest)
    print(name if known is None else f"{name}: done before", flush=True)
    if known is not None:
        return known
    run = Run(study.recipe(arm, seed), study.out, lambda line: print(f"  {line}", flush=True))
    with run.dir.lock():
        run.data()
        checkpoint = None if arm == BASE else tuned(run)
        began = time.monotonic()
        judged = judge(study, run, checkpoint)
        seconds = {"train": train_seconds(run), "judge": round(time.monotonic() - began, 1)}
        told = {"mark": mark_of(study, arm, seed, source_digest), "arm": arm, "seed": seed, "seconds": seconds}
        write_json(result_path(study, arm, seed), told | judged)
    print(f"  judged    in {format_seconds(seconds['judge'])}", flush=True)
    return told | judged


def result_path(study: Study, arm: str, seed: int) -> Path:
    return study.out / run_name(arm, seed) / "result.json"


def mark_of(study: Study, arm: str, seed: int, source_digest: str) -> str:
    """Changes with everything that a result depends on: recipe, conversations, items, length of answers."""
    asked = [INSTRUCTIONS[: study.num_instructions], CONTINUATIONS, study.new_tokens]
    return fingerprint([VERSION, study.recipe(arm, seed), source_digest, asked])


def known_result(study: Study, arm: str, seed: int, source_digest: str) -> dict[str, Any] | None:
    """The result of an earlier call, where it is of the same study."""
    return read_result(result_path(study, arm, seed), mark_of(study, arm, seed, source_digest))


def judge(study: Study, run: Run, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """The items of each measure, under its key in `MEASURES`, with their values and weights."""
    generator = speaker(run, checkpoint)
    heldout = list(iter_conversations(run.dir.path / "data" / "heldout.jsonl"))
    alone = renderer_for(tokenizer_folder(study.model), study.recipe("response_only", 0).render)
    return {
        "digest": generator.digest,
        "followed": ask(study, generator),
        "loss": losses(generator, [run.asking_renderer.render(each) for each in heldout]),
        "loss_empty": losses(generator, [alone.render(each) for each in heldout]),
        "continued": go_on(study, generator),
    }


def ask(study: Study, generator: "LocalGenerator") -> list[dict[str, Any]]:
    """The greedy answers to the verifiable instructions, all in one batch, so that it is the same for each model."""
    asked = INSTRUCTIONS[: study.num_instructions]
    prompts = [Prompt((Message("user", each.prompt),)) for each in asked]
    return [
        {
            "id": each.id,
            "value": float(is_followed(each, answer.text)),
            "weight": 1,
            "answer": answer.text,
            "num_tokens": answer.num_tokens,
            "stopped": answer.stopped,
        }
        for each, answer in zip(asked, generator.generate(prompts, Sampling(study.new_tokens)), strict=True)
    ]


def go_on(study: Study, generator: "LocalGenerator") -> list[dict[str, Any]]:
    """What the model writes after plain texts, without a chat template around them."""
    prompts = [Prompt(text=each.text) for each in CONTINUATIONS]
    found = generator.generate(prompts, Sampling(CONTINUED_TOKENS))
    return [
        {"id": each.text, "value": float(is_continued(each, after.text)), "weight": 1, "answer": after.text}
        for each, after in zip(CONTINUATIONS, found, strict=True)
    ]


def arms_table(results: Sequence[dict[str, Any]]) -> str:
    """Mean ± standard deviation over seeds of each measure, and how long the answers were."""
    titles = [*(measure.title for measure in MEASURES), "answer tokens", "answers cut"]
    lines = [f"| arm | {' | '.join(titles)} |", f"|---|{'---:|' * len(titles)}"]
    for arm in (BASE, *TUNED):
        found = list(of_arm(results, arm).values())
        cells = [spelled([weighted_mean(each[measure.key]) for each in found]) for measure in MEASURES]
        cells.append(spelled([statistics.fmean(item["num_tokens"] for item in each["followed"]) for each in found]))
        cells.append(spelled([statistics.fmean(not item["stopped"] for item in each["followed"]) for each in found]))
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def page(results: Sequence[dict[str, Any]], differences: Sequence[Difference], facts: dict[str, Any]) -> str:
    """The whole account, in Markdown."""
    sizes = ", ".join(f"{len(results[0][each.key])} ({each.title})" for each in MEASURES)
    listed = "\n".join(f"- {reading(each)}" for each in differences)
    told = "\n".join(f"- {name}: {value}" for name, value in facts["machine"].items())
    return (
        f"# Response-only tuning beside instruction tuning\n\n{note(facts['options']['model'].name)}\n\n"
        f"## Arms\n\nMean ± standard deviation over seeds {', '.join(map(str, facts['options']['seeds']))}; losses in "
        f"nats per token, the rest shares. The base is one model, so it has no spread. Items: {sizes}.\n\n"
        f"{arms_table(results)}\n\n## Differences\n\nPaired by seed (Student's t) and by item (averaged over seeds). "
        f"{len(differences)} comparisons; the intervals are not widened for their number.\n\n"
        f"{differences_table(differences)}\n\n## What the numbers say\n\n{listed}\n\n## How it was run\n\n"
        f"- {facts['data']['num_conversations']} conversations, {facts['data']['num_dropped']} dropped, "
        f"{HOLDOUT:.0%} held out; epochs: {facts['options']['epochs']:g}\n{told}\n"
    )


# The study


def run_study(study: Study, data: Path, count: int) -> None:
    """All models, then the comparison, into `results.json` and `results.md`."""
    began = time.monotonic()
    facts = prepare(study, data, count)
    print_plan(study, facts)
    results = [result_of(study, arm, seed, facts["source_digest"]) for arm, seed in study.runs()]
    differences = [compare(results, measure, arm, other) for measure in MEASURES for arm, other in PAIRS]
    seconds = sum(sum(result["seconds"].values()) for result in results)
    told = {
        "machine": {
            **machine(study.model),
            "seconds of all models": round(seconds),
            "seconds of this call": round(time.monotonic() - began),
        },
        "options": {name: getattr(study, name) for name in Study.__slots__ if name != "out"},
        "data": facts,
    }
    text = page(results, differences, told)
    judged = [
        {**each._asdict(), "measure": each.measure.key, "mean": each.mean, "reading": reading(each)}
        for each in differences
    ]
    write_json(
        study.out / "results.json", {"note": note(study.model.name), **told, "differences": judged, "models": results}
    )
    with atomic_write(study.out / "results.md") as file:
        file.write(text)
    print(f"\n{text}\n{study.out / 'results.md'}")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data", help="holds self_instruct/")
    parser.add_argument("--out", type=Path, help="default: runs/studies/response_only (response_only-smoke)")
    parser.add_argument("--model", default=ModelConfig().name)
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--conversations", type=int, default=240, help="how many to draw, held-out ones included")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--batch-conversations", type=int, default=16, help="conversations of an optimizer step")
    parser.add_argument("--max-tokens", type=int, default=512, help="longer conversations are dropped in all arms")
    parser.add_argument("--new-tokens", type=int, default=96, help="longest answer to an instruction")
    parser.add_argument("--smoke", action="store_true", help="8 conversations, 1 epoch, 1 seed, 3 prompts")
    options = parser.parse_args(arguments)
    if options.smoke:
        vars(options).update(conversations=8, seeds=[0], epochs=1.0)
    folder = "response_only-smoke" if options.smoke else "response_only"
    options.out = options.out or REPOSITORY / "runs" / "studies" / folder
    return options


def main() -> None:
    options = parse()
    study = Study(
        out=options.out,
        model=ModelConfig(name=options.model, dtype=options.dtype),
        seeds=tuple(dict.fromkeys(options.seeds)),
        epochs=options.epochs,
        batch_conversations=options.batch_conversations,
        max_tokens=options.max_tokens,
        new_tokens=options.new_tokens,
        num_instructions=3 if options.smoke else len(INSTRUCTIONS),
    )
    try:
        run_study(study, options.data, options.conversations)
    except TunesmithError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
