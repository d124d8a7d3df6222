"""From the files of a recipe to the batches of each phase: data, render, mix, pack, each done once in the run's folder.

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
from tunesmith.data import data, write_data
from tunesmith.errors import ConfigError
from tunesmith.files import RunDir, StageFolder, fingerprint, read_jsonl, write_json, write_jsonl
from tunesmith.mix import Part, mix
from tunesmith.mix.mixed import Mixed
from tunesmith.mix.tree import draw, tree_of
from tunesmith.model import model_digest, model_folder, tokenizer_folder
from tunesmith.pack import Batches, pack
from tunesmith.phases import Phase, Source, phases_of
from tunesmith.progress import count
from tunesmith.recipe import Recipe
from tunesmith.render import render, renderer_for
from tunesmith.render.bulk.rendered_file import RenderedFile
from tunesmith.train.apart import Part as View
from tunesmith.train.apart import rest_fingerprint, set_apart
from tunesmith.train.objectives.make import check_data
from tunesmith.train.parallel.ranks import current
from tunesmith.types import Rendered

# Raise a stage's number when its output for equal inputs changes: finished runs are then done again.
VERSIONS = {"data": 2, "render": 2, "mix": 1, "pack": 3, "train": 2, "evaluate": 2, "gate": 1, "pool": 1}
NUM_PREVIEWED = 100
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a phase trains on: a rendered file or a mix of several, and the fingerprint that names it.

    `epochs` is how often packing goes through it; a mix holds all its passes.
    """

    phase: Phase
    sequence: Sequence[Rendered]
    fingerprint: str
    epochs: float
    apart: Sequence[Rendered] = ()
    """Conversations of the main data that are set apart for validation."""

    def batches(self) -> Batches:
        """The stream that training reads; cheap to make, so it is made anew each time."""
        return pack(self.phase.pack, self.sequence, self.epochs, self.fingerprint)


class Preparation:
    """One recipe in one run folder, as far as training's batches. `stage` does the work of any stage once."""

    def __init__(self, recipe: Recipe, root: Path, say: Say, *, resumes: bool = False) -> None:
        """With `resumes` a training that was begun on other inputs is an error, and is not replaced."""
        self.recipe = recipe
        self.dir = RunDir(root / recipe.name)
        self.say = say
        self.resumes = resumes
        self.did_work = False
        self.ranks = current()
        self._num_told = 0

    # What several stages share, found out once

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        return phases_of(self.recipe)

    @cached_property
    def model_folder(self) -> Path:
        return model_folder(self.recipe.model)

    @cached_property
    def model_digest(self) -> str:
        return model_digest(self.model_folder)

    def stage(self, name: str, inputs: Any, work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """Do `work` in the folder of stage `name`, unless it was done before on equal inputs; gives the manifest.

        Of several ranks the first one does it, and the others wait, however long that takes; all work at training.
        """
        if not self.ranks.is_first:
            return self._follow(name, work)
        mark = fingerprint([__version__, name, VERSIONS[name.split("/")[0]], inputs])
        folder = self.dir.stage(name)
        manifest = folder.manifest() if folder.is_done(mark) else None
        if manifest is None:
            if self.resumes and name.startswith("train"):
                refuse_other_inputs(folder, mark)
            self.did_work = True
            path = folder.open(mark)
            if name.startswith("train"):
                self._tell(None)
            manifest = folder.finish(mark, **work(path))
        self._tell(manifest)
        return manifest

    def _follow(self, name: str, work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """A stage as another rank sees it: the manifest that the first one tells, or nothing, and then it joins in."""
        manifest = self._hear()
        if manifest is None:
            work(self.dir.stage(name).path)
            manifest = self._hear()
        assert manifest is not None
        return manifest

    def _tell(self, manifest: dict[str, Any] | None) -> None:
        self._num_told += 1
        self.ranks.tell(f"stage {self._num_told}", manifest)

    def _hear(self) -> dict[str, Any] | None:
        self._num_told += 1
        manifest: dict[str, Any] | None = self.ranks.hear(f"stage {self._num_told}")
        return manifest

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
        name = label_of(phase, source)
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
            f"render    {label_of(phase, source)}{manifest['num_tokens']:,} tokens, {manifest['num_supervised']:,} of "
            f"them trained ({share:.0%}), longest conversation {manifest['longest']:,}{dropped}"
        )
        return manifest

    def _conversations(self, phase: Phase, source: Source) -> Path:
        return self.dir.path / phase.place("data", source) / "conversations.jsonl"

    def _manifest(self, place: str) -> dict[str, Any]:
        manifest = self.dir.stage(place).manifest()
        assert manifest is not None, f"{place} is not done yet"
        return manifest

    def _rendered(self, phase: Phase, source: Source) -> RenderedFile:
        return RenderedFile(self.dir.path / phase.place("render", source))

    def _main(self, phase: Phase) -> tuple[Sequence[Rendered], Sequence[Rendered]]:
        """The main data of a phase: what is trained on, and what is set apart for validation."""
        return set_apart(self._rendered(phase, phase.main), phase.train.validation)

    def _alone(self, phase: Phase, manifest: dict[str, Any]) -> Prepared:
        rest, apart = self._main(phase)
        mark = rest_fingerprint(manifest["fingerprint"], phase.train.validation)
        return Prepared(phase, rest, mark, phase.train.epochs, apart)

    def _mixed(self, phase: Phase, manifests: Sequence[dict[str, Any]]) -> Mixed:
        parts = []
        for source, manifest in zip(phase.sources, manifests, strict=True):
            is_main, whole, mark = source is phase.main, self._rendered(phase, source), manifest["fingerprint"]
            by_number = phase.mix.curriculum.by == "number"
            numbers = read_numbers(self._conversations(phase, source), whole) if by_number else None
            rest = self._main(phase)[0] if is_main else whole
            if numbers is not None and isinstance(rest, View):
                numbers = numbers[rest.places]
            mark = rest_fingerprint(mark, phase.train.validation) if is_main else mark
            parts.append(Part(source.part, rest, mark, numbers))
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
        return Prepared(phase, mixed, mixed.fingerprint, 1.0, self._main(phase)[1])

    def _pack(self, prepared: Prepared) -> None:
        phase = prepared.phase

        def work(folder: Path) -> dict[str, Any]:
            batches = prepared.batches()
            write_jsonl(folder / "preview.jsonl", [batch_preview(batches[0])])
            return {
                "num_batches": len(batches),
                "num_conversations": batches.num_conversations,
                "num_main": len(self._main(phase)[0]),
                "num_set_apart": len(prepared.apart),
            }

        inputs = [phase.pack, prepared.epochs, prepared.fingerprint]
        manifest = self.stage(phase.place("pack"), inputs, work)
        layout = phase.pack.layout
        said = "no padding" if layout == "best_fit" else f"layout {layout}"
        said += f"; {manifest['num_set_apart']:,} set apart for validation" if manifest["num_set_apart"] else ""
        size = phase.pack.batch_conversations
        self.say(f"pack      {label_of(phase)}{count(manifest['num_batches'], 'step')} of {size} conversations, {said}")


def refuse_other_inputs(folder: StageFolder, mark: str) -> None:
    """Raise ConfigError where the work in `folder` was begun on other inputs than `mark` names."""
    begun = folder.begun_on()
    if begun is not None and begun != mark:
        raise ConfigError(
            f"--resume: {folder.path} was trained with other data or settings; repeat them, or give another --out"
        )


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


def label_of(phase: Phase, source: Source | None = None) -> str:
    """What a line of the report is about; nothing in a plain recipe, where that is clear."""
    name = source.name if source is not None and len(phase.sources) > 1 else ""
    label = "/".join(part for part in (phase.folder, name) if part)
    return f"{label}: " if label else ""
