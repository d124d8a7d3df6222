"""pipeline: a recipe becomes a run. Each stage in turn, skipped when its manifest matches its inputs.

The fingerprint of a stage's inputs holds the stage's config and the fingerprint of the stage before it, so that a
change anywhere re-does exactly what depends on it. A run that died goes on from where it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith import __version__
from tunesmith.chain import Footing, footing_after, merged_result
from tunesmith.data import data, write_data
from tunesmith.errors import ConfigError
from tunesmith.evaluate import Task, evaluate
from tunesmith.evaluate.run import REPORT
from tunesmith.files import (
    RunDir,
    StageFolder,
    atomic_write,
    fingerprint,
    read_json,
    read_jsonl,
    write_json,
    write_jsonl,
)
from tunesmith.gate import VERDICT_FILE, gate, read_verdict, write_verdict
from tunesmith.mix import Part, mix
from tunesmith.mix.mixed import Mixed
from tunesmith.mix.tree import draw, tree_of
from tunesmith.model import model_digest, model_folder, tokenizer_folder
from tunesmith.pack import Batches, pack
from tunesmith.phases import Phase, Source, phases_of
from tunesmith.pool import add, aliases, promote, record_verdict
from tunesmith.progress import count, format_seconds
from tunesmith.recipe import Recipe, to_toml
from tunesmith.render import Renderer, render, renderer_for
from tunesmith.render.bulk.rendered_file import RenderedFile
from tunesmith.tasks import prepare_tasks
from tunesmith.train import TrainConfig, train
from tunesmith.train.objectives.make import check_data, teacher_digest
from tunesmith.types import Checkpoint, Entry, Rendered, Report, Verdict

# Raise a stage's number when its output for equal inputs changes: finished runs are then done again.
VERSIONS = {"data": 2, "render": 2, "mix": 1, "pack": 2, "train": 2, "evaluate": 1, "gate": 1, "pool": 1}
NUM_PREVIEWED = 100
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to. `did_work` is False when every stage had been done before."""

    folder: Path
    base: Report | None
    tuned: Report | None
    verdict: Verdict | None
    entry: Entry
    alias: str | None
    is_promoted: bool
    did_work: bool
    weights: Path


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a phase trains on: a rendered file or a mix of several, and the fingerprint that names it.

    `epochs` is how often packing goes through it; a mix holds all its passes.
    """

    phase: Phase
    sequence: Sequence[Rendered]
    fingerprint: str
    epochs: float

    def batches(self) -> Batches:
        """The stream that training reads; cheap to make, so it is made anew each time."""
        return pack(self.phase.pack, self.sequence, self.epochs, self.fingerprint)


class Run:
    """One recipe in one run folder. Its methods are the stages; each returns what the next one reads."""

    def __init__(self, recipe: Recipe, root: Path, say: Say, *, resumes: bool = False) -> None:
        """With `resumes` a training that was begun on other inputs is an error, and is not replaced."""
        self.recipe = recipe
        self.dir = RunDir(root / recipe.name)
        self.say = say
        self.resumes = resumes
        self.did_work = False
        self.lineage: list[dict[str, Any]] = []

    # What several stages share, found out once

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        return phases_of(self.recipe)

    @cached_property
    def asking_renderer(self) -> Renderer:
        return renderer_for(tokenizer_folder(self.recipe.model), self.recipe.render.for_answers())

    @cached_property
    def model_folder(self) -> Path:
        return model_folder(self.recipe.model)

    @cached_property
    def model_digest(self) -> str:
        return model_digest(self.model_folder)

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        last = self.phases[-1]
        return prepare_tasks(self.recipe, self.dir.path / last.place("data", last.main) / "heldout.jsonl")

    def stage(self, name: str, inputs: Any, work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """Do `work` in the folder of stage `name`, unless it was done before on equal inputs; gives the manifest."""
        mark = fingerprint([__version__, name, VERSIONS[name.split("/")[0]], inputs])
        folder = self.dir.stage(name)
        if folder.is_done(mark):
            manifest = folder.manifest()
            assert manifest is not None
            return manifest
        if self.resumes and name.startswith("train"):
            refuse_other_inputs(folder, mark)
        self.did_work = True
        return folder.finish(mark, **work(folder.open(mark)))

    # The stages

    def data(self) -> dict[str, Any]:
        """Read the sources of all phases; gives the manifest of the last phase's main data."""
        # The main data come first: the folders of the other sources stand inside theirs.
        read = [[self._read(phase, source) for source in phase.sources] for phase in self.phases]
        return read[-1][0]

    def _read(self, phase: Phase, source: Source) -> dict[str, Any]:
        def work(folder: Path) -> dict[str, Any]:
            return write_data(source.data, folder)

        manifest = self.stage(phase.place("data", source), data(source.data).fingerprint, work)
        heldout = f", {manifest['num_heldout']:,} held out" if manifest["num_heldout"] else ""
        dropped = f", {manifest['num_dropped']:,} dropped" if manifest["num_dropped"] else ""
        num_kept = manifest["num_out"] + manifest["num_heldout"]
        check_data(phase.train.objective, manifest["num_pairs"], num_kept)
        name = _label(phase, source)
        self.say(f"data      {name}{manifest['num_out']:,} conversations ({manifest['format']}){heldout}{dropped}")
        return manifest

    def prepare(self, phase: Phase) -> Prepared:
        """Render the sources of a phase, which were read before, mix them where there is anything to mix, and pack."""
        rendered = [self._render(phase, source) for source in phase.sources]
        prepared = self._mix(phase, rendered) if phase.mix.is_needed else self._alone(phase, rendered[0])
        self._pack(prepared)
        return prepared

    def mix_lines(self, phase: Phase) -> list[str]:
        """Render the sources of a phase and draw the tree of its mix."""
        rendered = [self._render(phase, source) for source in phase.sources]
        return draw(tree_of(self._mixed(phase, rendered))) if phase.mix.is_needed else ["nothing is mixed"]

    def _render(self, phase: Phase, source: Source) -> dict[str, Any]:
        renderer = renderer_for(tokenizer_folder(self.recipe.model), source.render)

        def work(folder: Path) -> dict[str, Any]:
            return render(source.render, renderer, self._conversations(phase, source), self.dir.stage(place))

        place = phase.place("render", source)
        before = self._manifest(phase.place("data", source))
        manifest = self.stage(place, [source.render, before["fingerprint"], renderer.fingerprint], work)
        share = manifest["num_supervised"] / manifest["num_tokens"]
        dropped = f"; {manifest['num_dropped']:,} dropped" if manifest["num_dropped"] else ""
        self.say(
            f"render    {_label(phase, source)}{manifest['num_tokens']:,} tokens, {manifest['num_supervised']:,} of "
            f"them trained ({share:.0%}), longest conversation {manifest['longest']:,}{dropped}"
        )
        return manifest

    def _conversations(self, phase: Phase, source: Source) -> Path:
        return self.dir.path / phase.place("data", source) / "conversations.jsonl"

    def _manifest(self, place: str) -> dict[str, Any]:
        manifest = self.dir.stage(place).manifest()
        assert manifest is not None, f"{place} is not done yet"
        return manifest

    def _alone(self, phase: Phase, manifest: dict[str, Any]) -> Prepared:
        sequence = RenderedFile(self.dir.path / phase.place("render", phase.main))
        return Prepared(phase, sequence, manifest["fingerprint"], phase.train.epochs)

    def _mixed(self, phase: Phase, manifests: Sequence[dict[str, Any]]) -> Mixed:
        parts = []
        for source, manifest in zip(phase.sources, manifests, strict=True):
            sequence = RenderedFile(self.dir.path / phase.place("render", source))
            by_number = phase.mix.curriculum.by == "number"
            numbers = read_numbers(self._conversations(phase, source), sequence) if by_number else None
            parts.append(Part(source.part, sequence, manifest["fingerprint"], numbers))
        return mix(phase.mix.settings, parts, phase.train.epochs)

    def _mix(self, phase: Phase, manifests: Sequence[dict[str, Any]]) -> Prepared:
        mixed = self._mixed(phase, manifests)
        tree = tree_of(mixed)

        def work(folder: Path) -> dict[str, Any]:
            write_json(folder / "mix.json", tree)
            preview = [{"source": each.source, "id": each.conversation_id} for each in mixed[:NUM_PREVIEWED]]
            write_jsonl(folder / "preview.jsonl", preview)
            return {"num_visits": tree.num_visits, "num_tokens": tree.num_tokens, "num_supervised": tree.num_supervised}

        self.stage(phase.place("mix"), mixed.fingerprint, work)
        for line in draw(tree):
            self.say(f"{'mix' if line.startswith('mix') else '':<10}{line.removeprefix('mix ')}")
        return Prepared(phase, mixed, mixed.fingerprint, 1.0)

    def _pack(self, prepared: Prepared) -> None:
        phase = prepared.phase

        def work(folder: Path) -> dict[str, Any]:
            batches = prepared.batches()
            write_jsonl(folder / "preview.jsonl", [batch_preview(batches[0])])
            return {"num_batches": len(batches), "num_conversations": batches.num_conversations}

        inputs = [phase.pack, prepared.epochs, prepared.fingerprint]
        manifest = self.stage(phase.place("pack"), inputs, work)
        layout = phase.pack.layout
        said = "no padding" if layout == "best_fit" else f"layout {layout}"
        size = phase.pack.batch_conversations
        self.say(f"pack      {_label(phase)}{count(manifest['num_batches'], 'step')} of {size} conversations, {said}")

    def train(self, prepared: Sequence[Prepared]) -> Checkpoint:
        """Train all phases, one after the other; what the last one made, on the recipe's model."""
        footing = Footing(self.recipe.model, self.model_folder, self.model_digest)
        for number, each in enumerate(prepared):
            following = prepared[number + 1].phase if number + 1 < len(prepared) else None
            checkpoint, lineage = self._train_phase(each, footing, following)
            self.lineage.append(lineage)
            if following is not None:
                footing = footing_after(footing, checkpoint, following)
        return merged_result(footing, checkpoint)

    def _train_phase(
        self, prepared: Prepared, footing: Footing, following: Phase | None
    ) -> tuple[Checkpoint, dict[str, Any]]:
        phase = prepared.phase
        keeps_state = following is not None and following.optimizer == "keep"

        def work(folder: Path) -> dict[str, Any]:
            facts = train_batches(phase.train, footing, prepared.batches(), folder, self.say, keeps_state=keeps_state)
            return {**facts, "phase": phase.name, "parent": footing.digest, "data": prepared.fingerprint}

        choices = [phase.adapter, phase.optimizer, keeps_state, teacher_digest(phase.train.objective)]
        packed = self._manifest(phase.place("pack"))["fingerprint"]
        inputs = [phase.train, self.recipe.model, packed, footing.digest, choices]
        manifest = self.stage(phase.place("train"), inputs, work)
        took = format_seconds(manifest["seconds"])
        self.say(f"train     {_label(phase)}done: {count(manifest['step'], 'step')} in {took}")
        path = self.dir.path / phase.place("train") / "final"
        lineage = {key: manifest[key] for key in ("phase", "parent", "data", "method", "step", "digest")}
        return Checkpoint(path, manifest["step"], manifest["digest"], manifest["method"]), lineage

    def evaluate(self, label: str, checkpoint: Checkpoint | None) -> Report:
        """Base (`checkpoint` None) or tuned model on all tasks."""
        digest = self.model_digest if checkpoint is None else f"{self.model_digest}+{checkpoint.digest}"

        def work(folder: Path) -> dict[str, Any]:
            generator = load_generator(self.recipe, checkpoint, digest, self.asking_renderer)
            report = evaluate(self.recipe.evaluate, self.tasks, generator, self.asking_renderer, folder, label)
            return {"means": {task.task: task.mean for task in report.tasks}}

        marks = [task.fingerprint for task in self.tasks]
        asked = self.asking_renderer.fingerprint
        inputs = [self.recipe.evaluate.batch_prompts, marks, digest, self.recipe.model.dtype, asked]
        self.stage(f"evaluate/{label}", inputs, work)
        return Report.from_dict(read_json(self.dir.path / "evaluate" / label / REPORT))

    def gate(self, tuned: Report, base: Report) -> Verdict | None:
        """The verdict, or None when the recipe has no policy to judge by."""
        policy = self.recipe.gate
        if not policy.improve and not policy.keep:
            return None

        def work(folder: Path) -> dict[str, Any]:
            verdict = gate(policy, tuned, base)
            write_verdict(folder, verdict)
            return {"outcome": verdict.outcome}

        self.stage("gate", [policy, fingerprint(tuned), fingerprint(base)], work)
        return read_verdict(self.dir.path / "gate" / VERDICT_FILE)

    def pool(self, checkpoint: Checkpoint, facts: dict[str, Any], verdict: Verdict | None) -> tuple[Entry, bool]:
        """Add the result to the pool; a PASS moves the alias. Returns the entry and whether the alias moved."""
        pool = Path(self.recipe.pool.path)
        alias = self.recipe.pool.alias
        entry = add(pool, checkpoint.path, facts)
        inputs = [str(pool.resolve()), entry.digest, alias, verdict.to_dict() if verdict else None]

        def work(folder: Path) -> dict[str, Any]:
            # The same weights may have been judged before, by another gate: the newest verdict counts.
            if verdict is not None and entry.manifest.get("verdict") != verdict.to_dict():
                record_verdict(pool, entry.digest, verdict.to_dict(), facts["report"])
            passed = verdict is not None and verdict.outcome == "PASS"
            if passed and alias is not None:
                promote(pool, alias, entry.digest)
            return {"entry": entry.digest, "is_promoted": passed and alias is not None}

        manifest = self.stage("pool", inputs, work)
        if manifest["is_promoted"] and alias is not None and alias not in aliases(pool):
            promote(pool, alias, entry.digest)  # the pool was emptied since
        return entry, alias is not None and aliases(pool).get(alias) == entry.digest


def run(recipe: Recipe, root: Path = Path("runs"), say: Say = print) -> RunResult:
    """Run every stage of `recipe` in `root/NAME`, going on from whatever was done before.

    `say` receives one line a stage. Raises TunesmithError's kin; what was finished stays finished.
    """
    this = Run(recipe, root, say)
    with this.dir.lock():
        with atomic_write(this.dir.path / "recipe.toml") as file:
            file.write(to_toml(recipe))
        manifest = this.data()
        _ = this.tasks  # a missing golden file or a misspelled scorer should show now, not after training
        checkpoint = this.train([this.prepare(phase) for phase in this.phases])
        base = this.evaluate("base", None) if recipe.evaluate.tasks else None
        tuned = this.evaluate("tuned", checkpoint) if recipe.evaluate.tasks else None
        verdict = this.gate(tuned, base) if tuned and base else None
        facts = _facts(this, manifest, checkpoint, tuned, verdict)
        entry, is_promoted = this.pool(checkpoint, facts, verdict)
        alias = recipe.pool.alias
    return RunResult(this.dir.path, base, tuned, verdict, entry, alias, is_promoted, this.did_work, checkpoint.path)


def refuse_other_inputs(folder: StageFolder, mark: str) -> None:
    """Raise ConfigError where the work in `folder` was begun on other inputs than `mark` names."""
    begun = folder.begun_on()
    if begun is not None and begun != mark:
        raise ConfigError(
            f"--resume: {folder.path} was trained with other data or settings; repeat them, or give another --out"
        )


def _facts(
    this: Run, manifest: dict[str, Any], checkpoint: Checkpoint, tuned: Report | None, verdict: Verdict | None
) -> dict[str, Any]:
    """What the pool remembers of a model: enough to rebuild it and to see why it was trusted."""
    return {
        "method": checkpoint.method,
        "parent": {
            "name": this.recipe.model.name,
            "revision": this.recipe.model.revision,
            "digest": this.model_digest,
        },
        "recipe": to_toml(this.recipe),
        "lineage": this.lineage,
        "data_fingerprint": manifest["fingerprint"],
        "shared_system": manifest["shared_system"],
        "run": str(this.dir.path.resolve()),
        "verdict": verdict.to_dict() if verdict else None,
        "report": tuned.to_dict() if tuned else None,
    }


def train_batches(
    config: TrainConfig, footing: Footing, batches: Batches, folder: Path, say: Say, *, keeps_state: bool = False
) -> dict[str, Any]:
    """Plan, load the model that `footing` names, and train it in `folder`; the facts for the manifest."""
    from tunesmith.model.load import load_model, pick_device
    from tunesmith.train.attention import attention_name
    from tunesmith.train.plan import make_plan

    plan = make_plan(config, footing.model, footing.folder, batches, footing.start, keeps_state=keeps_state)
    write_json(folder / "plan.json", plan)
    rate = "auto" if plan.learning_rate is None else f"{plan.learning_rate:.1e}"
    say(f"train     {count(plan.num_steps, 'step')}, {config.method}, learning rate {rate}")
    for each in plan.advice:
        say(f"advice    {each.text} ({each.source})")
    quantize = config.adapter.quantize if config.method == "lora" else "none"
    loaded = load_model(footing.model, attention=attention_name(pick_device()), quantize=quantize)
    checkpoint = train(plan, loaded, batches, folder)
    return {"step": checkpoint.step, "digest": checkpoint.digest, "method": checkpoint.method}


def load_generator(recipe: Recipe, checkpoint: Checkpoint | None, digest: str, renderer: Renderer) -> Any:
    """The base or the tuned model, ready to answer."""
    from tunesmith.generate.local import LocalGenerator
    from tunesmith.model.load import load_model

    config, adapter = recipe.model, None
    if checkpoint is not None and checkpoint.method == "lora":
        adapter = checkpoint.path
    elif checkpoint is not None:
        config = config.model_copy(update={"name": str(checkpoint.path), "revision": None})
    return LocalGenerator(load_model(config, adapter=adapter), renderer, digest)


def read_numbers(conversations: Path, rendered: RenderedFile) -> NDArray[np.float64]:
    """The number of each rendered conversation, float64 [N]; NaN where its record has none."""
    known = {raw["id"]: raw["number"] for _, raw in read_jsonl(conversations) if raw.get("number") is not None}
    numbers = np.full(len(rendered), np.nan)
    for position in range(len(rendered)):
        name = rendered.conversation_id(position)
        # A later piece of a conversation that was cut is named id#2, id#3, ...
        numbers[position] = known.get(name, known.get(name.rpartition("#")[0], np.nan))
    return numbers


def batch_preview(batch: Any) -> dict[str, Any]:
    """The layout of a batch for people: which conversations share which row."""
    rows = [{"num_tokens": row.num_tokens, "conversations": row.conversation_ids} for row in batch.rows]
    return {"num_tokens": batch.num_tokens, "num_supervised": batch.num_supervised, "rows": rows}


def _label(phase: Phase, source: Source | None = None) -> str:
    """What a line of the report is about; nothing in a plain recipe, where that is clear."""
    name = source.name if source is not None and len(phase.sources) > 1 else ""
    label = "/".join(part for part in (phase.folder, name) if part)
    return f"{label}: " if label else ""
