"""The A/A certificate: the same model asked the same again must write the same tokens.

Prompts are answered in fresh processes, past any ledger, in several batch sizes, orders and numbers of threads, and
token ids are compared with those of the first run. With no flip in n comparisons the rate is below 3 / n ("rule of
three"; Clopper and Pearson 1934 for any number of flips). Fragile items have the smallest gap between the two largest
logits: another machine may answer them otherwise.

    python -m tunesmith.generate.certificate SPEC    a process of its own: answers for the runs of a spec, as JSON
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tunesmith.errors import GenerateError
from tunesmith.files import fingerprint, read_json, write_json
from tunesmith.generate import Generator, Prompt, Sampling, Shapes
from tunesmith.generate.engines import prompt_tokens, stops_of
from tunesmith.model import ModelConfig, cache_folder, model_folder
from tunesmith.render import Renderer
from tunesmith.stats import binomial_upper
from tunesmith.types import TokenArray

VERSION = 1
NUM_FRAGILE = 5
_SHOWN_LINES = 12


class Question(NamedTuple):
    """A prompt's tokens, and what ends its answer."""

    tokens: TokenArray
    stops: tuple[int, ...]


class Answer(NamedTuple):
    """Token ids, and the smallest gap between their two largest logits."""

    tokens: tuple[int, ...]
    gap: float


class Run(NamedTuple):
    """One way to ask all prompts. Runs with the same `process` share a process with so many `threads` (0: as it is)."""

    process: int
    threads: int
    batch_prompts: int
    order: int
    """Seed of the order in which prompts are handed over; 0 leaves it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The model that is asked: how it is loaded, and how it passes its prompts."""

    model: ModelConfig
    adapter: Path | None = None
    shapes: Shapes = "fixed"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was run, and how many item-runs differ from the first run of their item."""

    num_items: int
    num_runs: int
    num_flips: int
    batch_sizes: tuple[int, ...]
    num_orders: int
    threads: tuple[int, ...]
    num_processes: int
    engine: str
    flipped: tuple[int, ...]
    """Items whose tokens were not always the same."""

    fragile: tuple[tuple[int, float], ...]
    """The items with the smallest gaps, with these, smallest first."""

    @property
    def num_item_runs(self) -> int:
        return self.num_items * self.num_runs

    @property
    def flip_rate(self) -> float:
        return self.num_flips / max(1, self.num_items * (self.num_runs - 1))

    @property
    def flip_rate_below(self) -> float:
        """Upper bound of the rate of flips, at 95 % confidence."""
        return binomial_upper(self.num_flips, max(1, self.num_items * (self.num_runs - 1)))

    def to_noise(self) -> dict[str, Any]:
        """As a report keeps it."""
        rates = {"flip_rate": self.flip_rate, "flip_rate_below": self.flip_rate_below}
        return {**rates, "num_item_runs": self.num_item_runs, **asdict(self)}


def certify(
    subject: Subject,
    asked: Sequence[Question],
    sampling: Sampling,
    runs: Sequence[Run],
    known: Sequence[Answer] | None = None,
) -> Certificate:
    """Answer all questions in every run and compare with the first, or with answers that are `known`.

    Raises GenerateError where a process fails.
    """
    answers: list[Sequence[Answer]] = [] if known is None else [known]
    engine = ""
    with tempfile.TemporaryDirectory() as folder:
        for process, some in groupby(runs, key=lambda run: run.process):
            spec = Path(folder) / f"{process}.json"
            write_json(spec, _spec(subject, asked, sampling, list(some)))
            said = _in_fresh_process(spec)
            engine = engine or said["engine"]
            answers += [[Answer(tuple(tokens), gap) for tokens, gap in run] for run in said["answers"]]
    return _compared(answers, runs, engine)


def _compared(answers: Sequence[Sequence[Answer]], runs: Sequence[Run], engine: str) -> Certificate:
    first = answers[0]
    flips = [sum(run[item].tokens != first[item].tokens for run in answers[1:]) for item in range(len(first))]
    gaps = sorted((answer.gap, item) for item, answer in enumerate(answers[-1]))[:NUM_FRAGILE]
    return Certificate(
        num_items=len(first),
        num_runs=len(answers),
        num_flips=sum(flips),
        batch_sizes=tuple(sorted({run.batch_prompts for run in runs})),
        num_orders=len({run.order for run in runs}),
        threads=tuple(sorted({run.threads for run in runs})),
        num_processes=len({run.process for run in runs}),
        engine=engine,
        flipped=tuple(item for item, count in enumerate(flips) if count),
        fragile=tuple((item, gap) for gap, item in gaps),
    )


def small_runs(batch_prompts: int) -> tuple[Run, ...]:
    """Those of a report: a fresh process, two batch sizes, two orders."""
    return Run(0, 0, batch_prompts, 1), Run(0, 0, 3 if batch_prompts != 3 else 5, 2)


@dataclass(frozen=True, slots=True)
class Certifier:
    """Gives a report its noise facts: some of its prompts are asked again, and must be answered as in the report.

    The facts are kept in the cache for each `mark` (`engines.local_mark`) and prompts, so the base is certified once.
    """

    subject: Subject
    renderer: Renderer
    batch_prompts: int
    mark: str
    num_items: int

    def __call__(self, generator: Generator, prompts: Sequence[Prompt], sampling: Sampling) -> dict[str, Any]:
        asked = [Question(prompt_tokens(each, self.renderer), stops_of(each, self.renderer)) for each in prompts]
        listed = [(each.tokens.tolist(), each.stops) for each in asked]
        name = fingerprint([VERSION, self.mark, sampling, listed])
        path = cache_folder() / "generate" / "certificates" / f"{name}.json"
        if not path.exists():
            own = [Answer(each.tokens, each.gap or 0.0) for each in generator.generate(prompts, sampling)]
            found = certify(self.subject, asked, sampling, small_runs(self.batch_prompts), own)
            write_json(path, found.to_noise())
        return dict(read_json(path))


def _spec(subject: Subject, asked: Sequence[Question], sampling: Sampling, runs: Sequence[Run]) -> dict[str, Any]:
    return {
        # A folder, so that a new process need not fetch or convert what this one has.
        "model": subject.model.model_copy(
            update={"name": str(model_folder(subject.model)), "revision": None}
        ).model_dump(),
        "adapter": None if subject.adapter is None else str(subject.adapter),
        "shapes": subject.shapes,
        "prompts": [(each.tokens.tolist(), each.stops) for each in asked],
        "sampling": asdict(sampling),
        "runs": [run._asdict() for run in runs],
    }


def _in_fresh_process(spec: Path) -> dict[str, Any]:
    threads = read_json(spec)["runs"][0]["threads"]
    more = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    command = [sys.executable, "-m", __name__, str(spec)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **more}, check=False)
    if done.returncode:
        shown = "\n".join(done.stderr.splitlines()[-_SHOWN_LINES:])
        raise GenerateError(
            f"a process of the A/A certificate ended with {done.returncode}; set evaluate.certificate_items = 0 to go "
            f"without it. It said:\n{shown}"
        )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def answers_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The engine, and for each run the tokens and the gap of each item."""
    from tunesmith.generate.writer import Writer
    from tunesmith.model.load import load_model

    adapter = None if spec["adapter"] is None else Path(spec["adapter"])
    model = load_model(ModelConfig(**spec["model"]), adapter=adapter)
    writers: dict[int, Writer] = {}
    answers = []
    for run in (Run(**each) for each in spec["runs"]):
        if run.batch_prompts not in writers:
            writers[run.batch_prompts] = Writer(model, run.batch_prompts, spec["shapes"])
        answers.append(list(_run(writers[run.batch_prompts], spec, run)))
    return {"engine": next(iter(writers.values())).engine, "answers": answers}


def _run(writer: Any, spec: Mapping[str, Any], run: Run) -> Iterator[tuple[list[int], float]]:
    from tunesmith.generate.choose import draw_key
    from tunesmith.generate.slots import Request, Written

    prompts = [Question(np.array(tokens, np.int32), tuple(stops)) for tokens, stops in spec["prompts"]]
    order = np.random.default_rng(run.order).permutation(len(prompts)) if run.order else np.arange(len(prompts))
    sampling = Sampling(**spec["sampling"])
    asked = [
        Request(prompts[item].tokens, prompts[item].stops, draw_key(sampling.seed, 0, prompts[item].tokens))
        for item in order
    ]
    found: dict[int, Written] = {}
    writer.write(asked, sampling, found.__setitem__)
    placed = {int(item): found[place] for place, item in enumerate(order)}
    return ((placed[item].tokens, placed[item].gap) for item in range(len(prompts)))


if __name__ == "__main__":
    print(json.dumps(answers_of(read_json(Path(sys.argv[1])))))
