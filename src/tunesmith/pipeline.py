"""pipeline: a recipe becomes a run. Each stage in turn, skipped when its manifest matches its inputs.

The fingerprint of a stage's inputs holds the stage's config and the fingerprint of the stage before it, so that a
change anywhere re-does exactly what depends on it. A run that died goes on from where it was.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from tunesmith import __version__
from tunesmith.data import DataConfig, data, iter_conversations, write_data
from tunesmith.errors import EvaluateError
from tunesmith.evaluate import Task, TaskConfig, evaluate
from tunesmith.evaluate.run import REPORT
from tunesmith.files import RunDir, atomic_write, fingerprint, open_text, read_json, write_json, write_jsonl
from tunesmith.gate import VERDICT_FILE, gate, read_verdict, write_verdict
from tunesmith.model import ModelConfig, model_digest, model_folder, tokenizer_folder
from tunesmith.pack import Batches, pack
from tunesmith.pool import add, aliases, promote, record_verdict
from tunesmith.progress import count, format_seconds
from tunesmith.recipe import HELDOUT, Recipe, to_toml
from tunesmith.render import Renderer, render, renderer_for
from tunesmith.render.bulk.rendered_file import RenderedFile
from tunesmith.train import TrainConfig, train
from tunesmith.train.objectives.make import check_data
from tunesmith.types import Checkpoint, Entry, Report, Verdict
from tunesmith.verify import Item, item_from_conversation, load_scorer, read_items

# Raise a stage's number when its output for equal inputs changes: finished runs are then done again.
VERSIONS = {"data": 2, "render": 2, "pack": 2, "train": 2, "evaluate": 1, "gate": 1, "pool": 1}
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


class Run:
    """One recipe in one run folder. Its methods are the stages; each returns what the next one reads."""

    def __init__(self, recipe: Recipe, root: Path, say: Say) -> None:
        self.recipe = recipe
        self.dir = RunDir(root / recipe.name)
        self.say = say
        self.did_work = False

    # What several stages share, found out once

    @cached_property
    def renderer(self) -> Renderer:
        return renderer_for(tokenizer_folder(self.recipe.model), self.recipe.render)

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
        return prepare_tasks(self.recipe, self.dir.path / "data" / "heldout.jsonl")

    def stage(self, name: str, inputs: Any, work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """Do `work` in the folder of stage `name`, unless it was done before on equal inputs; gives the manifest."""
        mark = fingerprint([__version__, name, VERSIONS[name.split("/")[0]], inputs])
        folder = self.dir.stage(name)
        if folder.is_done(mark):
            manifest = folder.manifest()
            assert manifest is not None
            return manifest
        self.did_work = True
        return folder.finish(mark, **work(folder.open(mark)))

    # The stages

    def data(self) -> dict[str, Any]:
        config = self.recipe.data
        manifest = self.stage("data", data(config).fingerprint, lambda folder: write_data(config, folder))
        heldout = f", {manifest['num_heldout']:,} held out" if manifest["num_heldout"] else ""
        dropped = f", {manifest['num_dropped']:,} dropped" if manifest["num_dropped"] else ""
        num_kept = manifest["num_out"] + manifest["num_heldout"]
        check_data(self.recipe.train.objective, manifest["num_pairs"], num_kept)
        self.say(f"data      {manifest['num_out']:,} conversations ({manifest['format']}){heldout}{dropped}")
        return manifest

    def render(self, before: dict[str, Any]) -> dict[str, Any]:
        def work(folder: Path) -> dict[str, Any]:
            conversations = self.dir.path / "data" / "conversations.jsonl"
            return render(self.recipe.render, self.renderer, conversations, self.dir.stage("render"))

        inputs = [self.recipe.render, before["fingerprint"], self.renderer.fingerprint]
        manifest = self.stage("render", inputs, work)
        share = manifest["num_supervised"] / manifest["num_tokens"]
        dropped = f"; {manifest['num_dropped']:,} dropped" if manifest["num_dropped"] else ""
        self.say(
            f"render    {manifest['num_tokens']:,} tokens, {manifest['num_supervised']:,} of them trained "
            f"({share:.0%}), longest conversation {manifest['longest']:,}{dropped}"
        )
        return manifest

    def batches(self, before: dict[str, Any]) -> Batches:
        """The stream that training reads; cheap to make, so it is made anew each time."""
        rendered = RenderedFile(self.dir.path / "render")
        return pack(self.recipe.pack, rendered, self.recipe.train.epochs, before["fingerprint"])

    def pack(self, before: dict[str, Any]) -> dict[str, Any]:
        def work(folder: Path) -> dict[str, Any]:
            batches = self.batches(before)
            write_jsonl(folder / "preview.jsonl", [batch_preview(batches[0])])
            return {"num_batches": len(batches), "num_conversations": batches.num_conversations}

        manifest = self.stage("pack", [self.recipe.pack, self.recipe.train.epochs, before["fingerprint"]], work)
        size, layout = self.recipe.pack.batch_conversations, self.recipe.pack.layout
        said = "no padding" if layout == "best_fit" else f"layout {layout}"
        self.say(f"pack      {count(manifest['num_batches'], 'step')} of {size} conversations, {said}")
        return manifest

    def train(self, rendered: dict[str, Any], packed: dict[str, Any]) -> Checkpoint:
        def work(folder: Path) -> dict[str, Any]:
            batches = self.batches(rendered)
            return train_batches(self.recipe.train, self.recipe.model, self.model_folder, batches, folder, self.say)

        inputs = [self.recipe.train, self.recipe.model, packed["fingerprint"], self.model_digest]
        manifest = self.stage("train", inputs, work)
        self.say(f"train     done: {count(manifest['step'], 'step')} in {format_seconds(manifest['seconds'])}")
        path = self.dir.path / "train" / "final"
        return Checkpoint(path, manifest["step"], manifest["digest"], manifest["method"])

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
        rendered = this.render(manifest)
        checkpoint = this.train(rendered, this.pack(rendered))
        base = this.evaluate("base", None) if recipe.evaluate.tasks else None
        tuned = this.evaluate("tuned", checkpoint) if recipe.evaluate.tasks else None
        verdict = this.gate(tuned, base) if tuned and base else None
        facts = _facts(this, manifest, checkpoint, tuned, verdict)
        entry, is_promoted = this.pool(checkpoint, facts, verdict)
    return RunResult(this.dir.path, base, tuned, verdict, entry, recipe.pool.alias, is_promoted, this.did_work)


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
        "data_fingerprint": manifest["fingerprint"],
        "shared_system": manifest["shared_system"],
        "run": str(this.dir.path.resolve()),
        "verdict": verdict.to_dict() if verdict else None,
        "report": tuned.to_dict() if tuned else None,
    }


def train_batches(
    config: TrainConfig, model: ModelConfig, base: Path, batches: Batches, folder: Path, say: Say
) -> dict[str, Any]:
    """Plan, load `model` from its folder `base`, and train it in `folder`; the facts for the manifest."""
    from tunesmith.model.load import load_model, pick_device
    from tunesmith.train.attention import attention_name
    from tunesmith.train.plan import make_plan

    plan = make_plan(config, model, base, batches)
    write_json(folder / "plan.json", plan)
    rate = "auto" if plan.learning_rate is None else f"{plan.learning_rate:.1e}"
    say(f"train     {count(plan.num_steps, 'step')}, {config.method}, learning rate {rate}")
    checkpoint = train(plan, load_model(model, attention=attention_name(pick_device())), batches, folder)
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


def prepare_tasks(recipe: Recipe, heldout: Path) -> tuple[Task, ...]:
    """Read every task's items and load its scorer."""
    return tuple(_prepare_task(config, recipe.data, heldout) for config in recipe.evaluate.tasks)


def _prepare_task(config: TaskConfig, mapping: DataConfig, heldout: Path) -> Task:
    items = task_items(config, mapping, heldout)[: config.max_items]
    if not items:
        raise EvaluateError(f"task {config.name!r}: {config.path} has no items")
    scorer, mark = (None, "likelihood") if config.scorer == "likelihood" else load_scorer(config.scorer, Path.cwd())
    return Task(config.name, tuple(items), scorer, mark, config.max_tokens)


def task_items(config: TaskConfig, mapping: DataConfig, heldout: Path) -> list[Item]:
    """The items of a task: held-out conversations, a built-in set, golden items, or any data file."""
    if config.path == HELDOUT:
        return [item_from_conversation(each) for each in iter_conversations(heldout)]
    if config.path.startswith("builtin:"):
        return read_items(builtin_set(config.path.removeprefix("builtin:")), config.split)
    path = Path(config.path)
    if is_golden(path):
        return read_items(path, config.split)
    if config.split is not None:
        raise EvaluateError(f"task {config.name!r}: {path} is no golden file, so it has no split {config.split!r}")
    # An item that cannot be read is an error here, whatever the training data may skip.
    changes = {"paths": (config.path,), "holdout": 0.0, "max_conversations": None, "on_error": "stop"}
    source = mapping.model_copy(update=changes)
    return [replace(item_from_conversation(each), cluster=config.name) for each in data(source)]


def builtin_set(name: str) -> Path:
    """The path of a golden set that ships with the package."""
    path = Path(str(package_files("tunesmith"))) / "verify" / "sets" / f"{name}.jsonl"
    if not path.is_file():
        known = sorted(each.stem for each in path.parent.glob("*.jsonl"))
        raise EvaluateError(f"no built-in set {name!r}; there are {', '.join(known)}")
    return path


def is_golden(path: Path) -> bool:
    """Whether a file's first line is a golden item: messages, and an answer apart from them."""
    if not path.is_file() or ".jsonl" not in path.suffixes:
        return False
    try:
        with open_text(path) as file:
            first = json.loads(file.readline() or "null")
    except (ValueError, OSError, EOFError):  # whoever reads it next says what is wrong with it
        return False
    return isinstance(first, dict) and isinstance(first.get("answer"), dict) and "messages" in first


def batch_preview(batch: Any) -> dict[str, Any]:
    """The layout of a batch for people: which conversations share which row."""
    rows = [{"num_tokens": row.num_tokens, "conversations": row.conversation_ids} for row in batch.rows]
    return {"num_tokens": batch.num_tokens, "num_supervised": batch.num_supervised, "rows": rows}
