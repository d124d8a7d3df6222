"""Five questions of how to train, asked of one small model: packing, noise, replay, adapter, and the order of data.

    packing    padding | best_fit | full_rows: the result, and tokens a second
    noise      NEFTune off | alpha 5 | alpha 10
    replay     0 % | 5 % | 10 % of the supervised tokens are plain text, against forgetting
    adapter    LoRA against full fine-tuning: what is forgotten where both have learned as much
    dmt        mixed | sequential | dmt: specialised and general data together, one after the other, or in two stages
               of which the second has both (Dong et al. 2023)

The plain arm, from which the others differ in what their names say: LoRA, learning rate 3e-4, best_fit, GSM8K's
training questions. A seed decides the adapter's initial weights, the noise and the order of conversations; arms that
several experiments share are trained once. Every model is judged by the same items, none of which is trained on:

    target loss     mean loss of GSM8K's test answers, in nats per supervised token, stop token included
    general loss    the same of held-out Self-Instruct answers
    text loss       the same of the beginnings of held-out Wikipedia articles and C4 pages, as documents

and packing also by tokens a second in optimizer steps. Nothing is generated. Differences are given with two intervals
at 95 %: over seeds (Student's t, paired by seed), which says what another training might give, and over items (paired,
averaged over seeds), which says what other items might. A difference counts as shown only where neither includes zero;
the intervals are not widened for the number of comparisons.

What it cannot answer. The base is NOT pretrained only: SmolLM2-135M-Instruct was tuned by its makers to follow
instructions, so general and text losses say what is lost of a chat model, and its makers' data may hold the items.
135 million weights and about 25,000 tokens of training say little of larger models and longer training. Losses are not
abilities: a model can lose in one and gain in the other, and what NEFTune's paper found, in long free answers, is not
looked for. With about 40 items of each kind and three seeds, small differences go unseen. Every arm has the plain
arm's learning rate and passes, which may suit one arm better than another; only `adapter` has several rates.

    python studies/training.py                         # data from ../shared/data, results to runs/studies/training
    python studies/training.py --experiment packing    # one of the five, or several
    python studies/training.py --smoke                 # the whole path on next to nothing: the figures mean nothing

Writes EXPERIMENT/results.json and results.md. A model whose result.json exists is neither trained nor judged again, as
long as nothing that it depends on changed. Training stopped by Ctrl-C goes on where it was; one that was killed goes
back to its last checkpoint, or to the beginning of its phase. Whole weights are removed once they are judged.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison import BASE, machine, reading
from one_model import losses, read_result, speaker, steps_of, tuned
from training_data import TRAINED, Data
from training_experiments import EXPERIMENTS, MEASURES, PLAIN_RATE, Experiment, Result, changes, page

from tunesmith.data import data
from tunesmith.errors import TunesmithError
from tunesmith.files import atomic_write, fingerprint, write_json
from tunesmith.model import ModelConfig, tokenizer_folder
from tunesmith.phases import merge
from tunesmith.pipeline import Run
from tunesmith.progress import format_seconds
from tunesmith.recipe import Recipe, build_recipe
from tunesmith.render import renderer_for
from tunesmith.types import Checkpoint

REPOSITORY = Path(__file__).resolve().parents[1]
VERSION = 1  # raise it when a model would be judged otherwise: results are then made anew
# What two free server cores do; only the estimate depends on them.
TRAINED_TOKENS_PER_SECOND, JUDGED_SECONDS = 400, 20


def note(model: str, num_items: int) -> str:
    """What the figures cannot say, whatever they are."""
    base = f"The base is {model}" + (
        ", which its makers had tuned to follow instructions" if model == ModelConfig().name else ""
    )
    return (
        f"{base}: general and text losses say what is lost of this model, not of a pretrained one. A small model, "
        f"a short training, losses in place of abilities, {num_items} items of each kind: a difference that is not "
        "shown may still be there, and one that is shown need not be so in larger models."
    )


# What was asked for


@dataclass(frozen=True, slots=True)
class Study:
    """What was asked for. The data are written below `out` once and are equal for all models."""

    out: Path
    model: ModelConfig
    seeds: tuple[int, ...]
    conversations: int
    items: int
    epochs: float
    batch_conversations: int
    row_tokens: int
    experiments: tuple[str, ...]

    @property
    def data(self) -> Data:
        return Data(self.out / "data", self.conversations, self.items, self.row_tokens)

    def recipe(self, arm: str, seed: int) -> Recipe:
        """One run: the plain recipe, and upon it what the arm changes."""
        target, general, text = (self.data.trained(name) for name in TRAINED)
        plain = {
            "name": run_name(arm, seed),
            "data": target.model_dump(),
            "model": self.model.model_dump(),
            "mix": {"seed": seed},
            "render": {"max_tokens": self.row_tokens},
            "pack": {"batch_conversations": self.batch_conversations, "row_tokens": self.row_tokens, "seed": seed},
            "train": {"learning_rate": PLAIN_RATE, "epochs": self.epochs, "seed": seed},
        }
        known = changes(target.model_dump(), general.model_dump(), text.paths[0], seed)
        return build_recipe(merge(plain, {} if arm == BASE else known[arm]), where=arm)

    def runs(self) -> list[tuple[str, int]]:
        """Arm and seed of every model; seed by seed, so that a study cut short still compares arms."""
        arms = dict.fromkeys(arm for name in self.experiments for arm in EXPERIMENTS[name].arms.values())
        return [(BASE, 0), *((arm, seed) for seed in self.seeds for arm in arms)]


def run_name(arm: str, seed: int) -> str:
    return arm if arm == BASE else f"{arm}-seed{seed}"


# The plan


def print_plan(study: Study, facts: dict[str, Any]) -> None:
    """What will be done, and about how long it takes."""
    todo = [each for each in study.runs() if known_result(study, *each, facts["digest"]) is None]
    tokens = sum(trained_tokens(study, arm, facts["tokens"]) for arm, _ in todo)
    seconds = tokens / TRAINED_TOKENS_PER_SECOND + len(todo) * JUDGED_SECONDS
    items = ", ".join(f"{count} {key}" for key, count in facts["items"].items())
    print(f"{note(study.model.name, study.items)}\n")
    print(
        f"plan      {', '.join(study.experiments)}; seeds {', '.join(map(str, study.seeds))}; judged by {items} items"
    )
    print(f"plan      {len(todo)} of {len(study.runs())} models to do: {tokens:,.0f} tokens to train")
    print(
        f"plan      about {format_seconds(seconds)} with smollm2-135m on two free cores (at "
        f"{TRAINED_TOKENS_PER_SECOND:,} tokens a second and {JUDGED_SECONDS} s to judge a model)\n",
        flush=True,
    )


def trained_tokens(study: Study, arm: str, tokens: dict[str, int]) -> float:
    """About how many tokens an arm trains on; replay and what dmt sees again are left out."""
    if arm == BASE:
        return 0.0
    return study.epochs * (tokens["target"] + (tokens["general"] if arm in EXPERIMENTS["dmt"].arms else 0))


# One model: train it, judge it


def result_of(study: Study, arm: str, seed: int, digest: str) -> Result:
    """The result of one model: read back where it exists, else made and written."""
    known = known_result(study, arm, seed, digest)
    print(run_name(arm, seed) if known is None else f"{run_name(arm, seed)}: done before", flush=True)
    if known is not None:
        return known
    run = Run(study.recipe(arm, seed), study.out / "models", lambda line: print(f"  {line}", flush=True))
    with run.dir.lock():
        run.data()
        checkpoint = None if arm == BASE else tuned(run)
        began = time.monotonic()
        judged = judge(study, run, checkpoint)
        steps = steps_of(run)
        result = {
            "mark": mark_of(study, arm, seed, digest),
            "arm": arm,
            "seed": seed,
            "num_steps": len(steps),
            "num_tokens": sum(step["num_tokens"] for step in steps),
            "seconds": {"train": sum(step["seconds"] for step in steps), "judge": time.monotonic() - began},
            **judged,
        }
        write_json(result_path(study, arm, seed), result)
        if checkpoint is not None and checkpoint.method == "full":
            shutil.rmtree(run.dir.path / "train")
    print(f"  judged    in {format_seconds(result['seconds']['judge'])}", flush=True)
    return result


def result_path(study: Study, arm: str, seed: int) -> Path:
    return study.out / "models" / run_name(arm, seed) / "result.json"


def mark_of(study: Study, arm: str, seed: int, digest: str) -> str:
    """Changes with everything that a result depends on: recipe, conversations, items."""
    return fingerprint([VERSION, study.recipe(arm, seed), digest])


def known_result(study: Study, arm: str, seed: int, digest: str) -> Result | None:
    """The result of an earlier call, where it is of the same study."""
    return read_result(result_path(study, arm, seed), mark_of(study, arm, seed, digest))


def judge(study: Study, run: Run, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """The items of each measure, under its key in `MEASURES`, with their losses and weights."""
    generator = speaker(run, checkpoint)
    found: dict[str, Any] = {"digest": generator.digest}
    for measure in MEASURES:
        items = data(study.data.judged[measure.key])
        found[measure.key] = losses(generator, [run.asking_renderer.render(each) for each in items])
    return found


# The study


def run_study(study: Study, folder: Path) -> None:
    """All models, then a page for each experiment, in its folder `results.json` and `results.md`."""
    began = time.monotonic()
    facts = study.data.prepare(folder, renderer_for(tokenizer_folder(study.model), study.recipe(BASE, 0).render))
    print_plan(study, facts)
    results = [result_of(study, arm, seed, facts["digest"]) for arm, seed in study.runs()]
    how = {
        **machine(study.model),
        "conversations": f"{study.conversations} of the target, {study.epochs:g} epochs, "
        f"{study.batch_conversations} a step, rows of {study.row_tokens} tokens",
        "seconds of all models": round(sum(sum(result["seconds"].values()) for result in results)),
        "seconds of this call": round(time.monotonic() - began),
    }
    told = {"note": note(study.model.name, study.items), "seeds": study.seeds, "how": how}
    for name in study.experiments:
        write_experiment(study, EXPERIMENTS[name], study.out / name, results, told | {"data": facts})


def write_experiment(
    study: Study, experiment: Experiment, folder: Path, results: Sequence[Result], told: dict[str, Any]
) -> None:
    """`results.json` and `results.md` of one experiment."""
    labeled = experiment.labeled(results)
    differences = experiment.differences(labeled)
    text = page(experiment, labeled, differences, told)
    listed = [
        {**each._asdict(), "measure": each.measure.key, "mean": each.mean, "reading": reading(each)}
        for each in differences
    ]
    options = {name: getattr(study, name) for name in Study.__slots__ if name != "out"}
    write_json(folder / "results.json", {**told, "options": options, "differences": listed, "models": labeled})
    with atomic_write(folder / "results.md") as file:
        file.write(text)
    print(f"\n{text}\n{folder / 'results.md'}")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS))
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data", help="holds gsm8k/ and kin")
    parser.add_argument("--out", type=Path, help="default: runs/studies/training (training-smoke)")
    parser.add_argument("--model", help=f"default: {ModelConfig().name} (new:llama-1m)")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--conversations", type=int, default=56, help="how many to train on, of target and general")
    parser.add_argument("--items", type=int, default=40, help="how many to judge by, of each kind")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--batch-conversations", type=int, default=8, help="conversations of an optimizer step")
    parser.add_argument("--row-tokens", type=int, default=1024, help="longer conversations are dropped")
    parser.add_argument("--smoke", action="store_true", help="a new model, 8 conversations, 1 epoch, 1 seed, 3 items")
    options = parser.parse_args(arguments)
    if options.smoke:
        vars(options).update(conversations=8, items=3, seeds=[0], epochs=1.0, batch_conversations=4)
    options.model = options.model or ("new:llama-1m" if options.smoke else ModelConfig().name)
    folder = "training-smoke" if options.smoke else "training"
    options.out = options.out or REPOSITORY / "runs" / "studies" / folder
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    study = Study(
        out=options.out,
        model=ModelConfig(name=options.model, dtype=options.dtype),
        seeds=tuple(dict.fromkeys(options.seeds)),
        conversations=options.conversations,
        items=options.items,
        epochs=options.epochs,
        batch_conversations=options.batch_conversations,
        row_tokens=options.row_tokens,
        experiments=tuple(dict.fromkeys(options.experiment)),
    )
    try:
        run_study(study, options.data)
    except TunesmithError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
