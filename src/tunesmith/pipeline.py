"""pipeline: a recipe becomes a run. Each stage in turn, skipped when its manifest matches its inputs.

What comes before training is in `preparation.py`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.chain import Footing, footing_after, merged_result
from tunesmith.errors import SkippedError
from tunesmith.evaluate import Task, evaluate
from tunesmith.evaluate.forgetting import WINDOW, divergences, write_divergence
from tunesmith.evaluate.run import REPORT, read_samples
from tunesmith.evaluate.vault import opened
from tunesmith.files import atomic_write, fingerprint, read_json, write_json
from tunesmith.gate import VERDICT_FILE, gate, read_verdict, write_verdict
from tunesmith.generate.certificate import Certifier, Subject
from tunesmith.generate.engines import known_engine, local_mark, local_mode
from tunesmith.generate.ledger import recorded
from tunesmith.model import ModelConfig, tokenizer_folder
from tunesmith.pack import Batches
from tunesmith.phases import Phase
from tunesmith.pool import add, aliases, promote, record_verdict
from tunesmith.preparation import Preparation, Prepared, Say, label_of
from tunesmith.probing import recipe_probes, validation_batches
from tunesmith.progress import count, format_seconds
from tunesmith.recipe import Recipe, to_toml
from tunesmith.render import Renderer, renderer_for
from tunesmith.report import PAGE, Story, judged, write_page
from tunesmith.tasks import DIVERGED, compared, general_probes, prepare_tasks
from tunesmith.train import Probe, TrainConfig, train
from tunesmith.train.objectives.make import teacher_digest
from tunesmith.train.parallel.ranks import current
from tunesmith.types import Checkpoint, Entry, Report, Verdict

if TYPE_CHECKING:
    from tunesmith.generate.divergence import Differ
    from tunesmith.generate.local import LocalGenerator


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


class Run(Preparation):
    """One recipe in one run folder. Its methods are the stages; each returns what the next one reads."""

    def __init__(self, recipe: Recipe, root: Path, say: Say, *, resumes: bool = False) -> None:
        super().__init__(recipe, root, say, resumes=resumes)
        self.lineage: list[dict[str, Any]] = []

    @cached_property
    def asking_renderer(self) -> Renderer:
        return renderer_for(tokenizer_folder(self.recipe.model), self.recipe.render.for_answers())

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        last = self.phases[-1]
        training = self._conversations(last, last.main)
        return prepare_tasks(self.recipe, training.with_name("heldout.jsonl"), training)

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
            validation = validation_batches(phase.pack, prepared.apart)
            probes = recipe_probes(phase.train, validation, self.asking_renderer, folder)
            batches = prepared.batches()
            facts = train_batches(
                phase.train, footing, batches, folder, self.say, keeps_state=keeps_state, probes=probes
            )
            return {**facts, "phase": phase.name, "parent": footing.digest, "data": prepared.fingerprint}

        choices = [phase.adapter, phase.optimizer, keeps_state, teacher_digest(phase.train.objective)]
        packed = self._manifest(phase.place("pack"))["fingerprint"]
        # Where figures are copied to says nothing of what is trained.
        config = phase.train.model_copy(update={"trackers": ()})
        inputs = [config, self.recipe.model, packed, footing.digest, choices]
        manifest = self.stage(phase.place("train"), inputs, work)
        took = format_seconds(manifest["seconds"])
        self.say(f"train     {label_of(phase)}done: {count(manifest['step'], 'step')} in {took}")
        path = self.dir.path / phase.place("train") / "final"
        lineage = {key: manifest[key] for key in ("phase", "parent", "data", "method", "step", "digest")}
        return Checkpoint(path, manifest["step"], manifest["digest"], manifest["method"]), lineage

    def evaluate(self, label: str, checkpoint: Checkpoint | None) -> Report:
        """Base (`checkpoint` None) or tuned model on all tasks."""
        digest = self.model_digest if checkpoint is None else f"{self.model_digest}+{checkpoint.digest}"

        def work(folder: Path) -> dict[str, Any]:
            load = lambda: load_generator(self.recipe, checkpoint, digest, self.asking_renderer)  # noqa: E731
            config = self.recipe.evaluate
            mode = local_mode(self.recipe.model.dtype, config.batch_prompts, config.shapes)
            mark = local_mark(digest, mode, self.asking_renderer)
            generator = recorded(load, config.ledger, digest=digest, engine=known_engine(mark), mark=mark)
            certifier = None
            if config.certificate_items:
                subject = Subject(*weights_of(self.recipe, checkpoint), config.shapes)
                renderer, num_items = self.asking_renderer, config.certificate_items
                certifier = Certifier(subject, renderer, config.batch_prompts, mark, num_items)
            report = evaluate(self.tasks, generator, folder, label, certifier)
            return {"means": {task.task: task.mean for task in report.tasks if task.scores}}

        marks = [task.fingerprint for task in self.tasks]
        asked = self.asking_renderer.fingerprint
        config = self.recipe.evaluate
        passes = [config.batch_prompts, config.shapes, config.certificate_items]
        inputs = [passes, marks, digest, self.recipe.model.dtype, asked]
        self.stage(f"evaluate/{label}", inputs, work)
        return Report.from_dict(read_json(self.dir.path / "evaluate" / label / REPORT))

    def divergence(self, tuned: Report, checkpoint: Checkpoint, base: Report) -> None:
        """How far the tuned model has moved from the base, where the panel is on; `compared` reads it."""
        renderer, config = self.asking_renderer, self.recipe.evaluate
        mode = f"divergence, dtype {self.recipe.model.dtype}"
        marks = [local_mark(each.model_digest, mode, renderer) for each in (base, tuned)]
        asked = general_probes(config.general_text, self.dir.path / "evaluate" / "base")

        def work(folder: Path) -> dict[str, Any]:
            make = lambda: load_differ(self.recipe, checkpoint, renderer)  # noqa: E731
            report = divergences(asked, make, config.ledger, fingerprint(marks))
            write_divergence(folder / DIVERGED.name, base.model_digest, tuned.model_digest, report)
            return {"means": {report.task: report.mean} if report.scores else {}}

        inputs = [marks, [asdict(each) for each in asked], asdict(WINDOW)]
        self.stage("evaluate/divergence", inputs, work)

    def gate(self, tuned: Report, base: Report) -> Verdict:
        """The verdict by the recipe's policy, or by the default one where it names no task; and its page."""
        policy = self.recipe.gate
        shown = base, tuned

        # The values of sealed tasks reach the gate alone.
        tuned = opened(self.dir.path / "evaluate" / "tuned", tuned)
        base = opened(self.dir.path / "evaluate" / "base", base)

        def work(folder: Path) -> dict[str, Any]:
            verdict = gate(policy, tuned, base)
            write_verdict(folder, verdict)
            write_page(folder / PAGE, self._story(verdict, *shown))
            return {"outcome": verdict.outcome}

        self.stage("gate", [policy, fingerprint(tuned), fingerprint(base)], work)
        return read_verdict(self.dir.path / "gate" / VERDICT_FILE)

    def _story(self, verdict: Verdict, base: Report, tuned: Report) -> Story:
        """What the page tells of this run."""
        folder = self.dir.path / "evaluate"
        return Story(
            base,
            tuned,
            judged(verdict, tuned),
            self.recipe.gate.confidence,
            verdict,
            read_samples(folder / "base"),
            read_samples(folder / "tuned"),
            lineage_facts(self.recipe, self.model_digest, self.lineage),
        )

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
        if base and tuned:
            folder = this.dir.path / "evaluate"
            if recipe.evaluate.panel == "on":
                this.divergence(tuned, checkpoint, base)
            base, tuned = compared(base, folder / "base", tuned, folder / "tuned")
        verdict = this.gate(tuned, base) if tuned and base else None
        facts = _facts(this, manifest, checkpoint, tuned, verdict)
        entry, is_promoted = this.pool(checkpoint, facts, verdict)
        alias = recipe.pool.alias
    return RunResult(this.dir.path, base, tuned, verdict, entry, alias, is_promoted, this.did_work, checkpoint.path)


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


def lineage_facts(recipe: Recipe, base_digest: str, lineage: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What a model was made from, in words: its base, what each phase read, and the recipe."""
    facts = {"base model": f"{recipe.model.name}, digest {base_digest}"}
    for each in lineage:
        facts[f"phase {each['phase'] or 'train'}"] = (
            f"{each['method']}, {count(each['step'], 'step')} on the data {each['data']}, result {each['digest']}"
        )
    return {**facts, "the recipe": to_toml(recipe)}


def train_batches(
    config: TrainConfig,
    footing: Footing,
    batches: Batches,
    folder: Path,
    say: Say,
    *,
    keeps_state: bool = False,
    probes: Sequence[Probe] = (),
) -> dict[str, Any]:
    """Plan, load the model that `footing` names, and train it in `folder`; the facts for the manifest."""
    from tunesmith.model.load import load_model, pick_device
    from tunesmith.train.attention import attention_name
    from tunesmith.train.plan import make_plan

    plan = make_plan(config, footing.model, footing.folder, batches, footing.start, keeps_state=keeps_state)
    if current().is_first:
        write_json(folder / "plan.json", plan)
    rate = "auto" if plan.learning_rate is None else f"{plan.learning_rate:.1e}"
    say(f"train     {count(plan.num_steps, 'step')}, {config.method}, learning rate {rate}")
    for each in plan.advice:
        say(f"advice    {each.text} ({each.source})")
    quantize = config.adapter.quantize if config.method == "lora" else "none"
    loaded = load_model(footing.model, attention=attention_name(pick_device()), quantize=quantize)
    checkpoint = train(plan, loaded, batches, folder, probes)
    return {"step": checkpoint.step, "digest": checkpoint.digest, "method": checkpoint.method}


def weights_of(recipe: Recipe, checkpoint: Checkpoint | None) -> tuple[ModelConfig, Path | None]:
    """The weights of the base (`checkpoint` None) or the tuned model, and an adapter that is merged into them."""
    if checkpoint is None:
        return recipe.model, None
    if checkpoint.method == "lora":
        return recipe.model, checkpoint.path
    return recipe.model.model_copy(update={"name": str(checkpoint.path), "revision": None}), None


def load_generator(recipe: Recipe, checkpoint: Checkpoint | None, digest: str, renderer: Renderer) -> "LocalGenerator":
    """The base or the tuned model, ready to answer; it is loaded when it is first asked."""
    from tunesmith.generate.local import LocalGenerator
    from tunesmith.model.load import load_model

    config, adapter = weights_of(recipe, checkpoint)
    load = lambda: load_model(config, adapter=adapter)  # noqa: E731
    batch, shapes = recipe.evaluate.batch_prompts, recipe.evaluate.shapes
    return LocalGenerator(load, renderer, digest, batch_prompts=batch, shapes=shapes, dtype=config.dtype)


def load_differ(recipe: Recipe, checkpoint: Checkpoint, renderer: Renderer) -> "Differ":
    """Base and tuned model side by side: one set of weights under an adapter, else both.

    Raises SkippedError where the memory does not hold them.
    """
    import torch

    from tunesmith.generate.divergence import Differ, Pair, adapted
    from tunesmith.model.load import load_adapted, load_model

    try:
        if checkpoint.method == "lora":
            pair = adapted(load_adapted(recipe.model, checkpoint.path))
        else:
            whole = recipe.model.model_copy(update={"name": str(checkpoint.path), "revision": None})
            pair = Pair(load_model(recipe.model), load_model(whole))
    except torch.OutOfMemoryError as error:
        raise SkippedError(f"the memory does not hold base and tuned model side by side ({error})") from error
    return Differ(pair, renderer, WINDOW)
