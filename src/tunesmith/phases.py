"""What a run trains on and in which phases, as a recipe spells it: sources, phases, and both worked out.

A recipe without `[[phases]]` is one phase without a name. `phases_of` gives each phase with complete settings: its own
tables laid upon the recipe's, and every source with its data and its rules of rendering.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from tunesmith.config import Config
from tunesmith.data import DataConfig, Format
from tunesmith.mix import MAIN, REPLAY, MixConfig, PartConfig
from tunesmith.pack import PackConfig
from tunesmith.render import RenderConfig
from tunesmith.train import TrainConfig

if TYPE_CHECKING:
    from tunesmith.recipe import Recipe

C = TypeVar("C", bound=Config)


class SourceConfig(PartConfig):
    """A source beside the main data."""

    data: DataConfig
    """What its examples are."""

    render: dict[str, Any] = Field(default_factory=dict)
    """Fields of render that differ for this source, for example train_on."""


class ReplayConfig(Config):
    """Old knowledge beside new: some text or conversations like those of earlier training, against forgetting."""

    paths: tuple[str, ...] = Field(min_length=1)
    """Files, folders or glob patterns with documents or general conversations."""

    share: float = Field(default=0.05, gt=0, lt=1)
    """Its share of the whole mix, in units of mix.weigh_by: by default 5 % of all supervised tokens."""

    format: Format = "auto"
    """How a record spells a conversation, as data.format."""

    render: dict[str, Any] = Field(default_factory=dict)
    """Fields of render that differ for the replay, for example train_on."""

    max_epochs: float = Field(default=4.0, gt=0, allow_inf_nan=False)
    """How often a conversation may be visited over the whole training."""


class MixSection(MixConfig):
    """What is learned beside the main data, and in which order."""

    replay: ReplayConfig | None = None
    """The commonest mix in a short form: a share of the whole that keeps old abilities."""

    sources: tuple[SourceConfig, ...] = ()
    """Further sources; each has a weight, a share, epochs, or none of them, which visits it once a pass."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [MAIN, REPLAY, *(source.name for source in self.sources)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"two sources are named {name!r}; {MAIN} is the recipe's own data, {REPLAY} is [mix.replay]"
                )
        return self

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to mix or to order."""
        return bool(self.sources or self.replay) or self.curriculum.by != "none"

    @property
    def settings(self) -> MixConfig:
        """How sources are mixed, without the sources."""
        return MixConfig(**{name: getattr(self, name) for name in MixConfig.model_fields})


class PhaseConfig(Config):
    """One phase of training. Tables that it leaves out are the recipe's."""

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")
    """What the phase is called; its folder in train/ is its number and its name."""

    data: DataConfig | None = None
    """The main data of this phase, in place of the recipe's."""

    mix: MixSection | None = None
    """What is learned beside them, in place of the recipe's mix."""

    render: dict[str, Any] = Field(default_factory=dict)
    """Fields of render that differ from the recipe's."""

    pack: dict[str, Any] = Field(default_factory=dict)
    """Fields of pack that differ from the recipe's."""

    train: dict[str, Any] = Field(default_factory=dict)
    """Fields of train that differ from the recipe's."""

    adapter: Literal["continue", "merge"] = "continue"
    """Where the phase before trained an adapter: go on with the same one, or merge it and begin with new weights."""

    optimizer: Literal["reset", "keep"] = "reset"
    """The optimizer's moments: forget those of the phase before, or go on with them."""


@dataclass(frozen=True, slots=True)
class Source:
    """One source of a phase, with all that decides what it becomes."""

    part: PartConfig
    data: DataConfig
    render: RenderConfig

    @property
    def name(self) -> str:
        return self.part.name


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase with complete settings. `sources` begin with the main data; `folder` is empty in a plain recipe."""

    name: str
    folder: str
    sources: tuple[Source, ...]
    mix: MixSection
    pack: PackConfig
    train: TrainConfig
    adapter: Literal["continue", "merge"] = "continue"
    optimizer: Literal["reset", "keep"] = "reset"

    @property
    def main(self) -> Source:
        """The main data."""
        return self.sources[0]

    def place(self, stage: str, source: Source | None = None) -> str:
        """The folder of a stage of this phase inside the run's folder; of one source, where one is named."""
        inner = source.name if source is not None and source.name != MAIN else ""
        return "/".join(part for part in (stage, self.folder, inner) if part)


def phases_of(recipe: "Recipe") -> tuple[Phase, ...]:
    """The phases of a recipe, in order; raises ConfigError where a phase's own fields do not fit."""
    if not recipe.phases:
        return (_phase(recipe, PhaseConfig(name=recipe.name), "", ""),)
    folders = [f"{number:02d}-{phase.name}" for number, phase in enumerate(recipe.phases, 1)]
    return tuple(
        _phase(recipe, phase, folder, phase.name) for phase, folder in zip(recipe.phases, folders, strict=True)
    )


def _phase(recipe: "Recipe", asked: PhaseConfig, folder: str, name: str) -> Phase:
    where = f"phases.{name}." if name else ""
    mix = recipe.mix if asked.mix is None else asked.mix
    render = laid_upon(recipe.render, asked.render, f"{where}render")
    main = Source(PartConfig(name=MAIN), recipe.data if asked.data is None else asked.data, render)
    return Phase(
        name=name,
        folder=folder,
        sources=(main, *_sources(mix, render, f"{where}mix")),
        mix=mix,
        pack=laid_upon(recipe.pack, asked.pack, f"{where}pack"),
        train=laid_upon(recipe.train, asked.train, f"{where}train"),
        adapter=asked.adapter,
        optimizer=asked.optimizer,
    )


def _sources(mix: MixSection, render: RenderConfig, where: str) -> list[Source]:
    found = []
    for each in mix.sources:
        part = PartConfig(**{name: getattr(each, name) for name in PartConfig.model_fields})
        found.append(Source(part, each.data, laid_upon(render, each.render, f"{where}.sources.{each.name}.render")))
    if mix.replay is not None:
        part = PartConfig(name=REPLAY, share=mix.replay.share, max_epochs=mix.replay.max_epochs)
        data = DataConfig(paths=mix.replay.paths, format=mix.replay.format)
        found.append(Source(part, data, laid_upon(render, mix.replay.render, f"{where}.replay.render")))
    return found


def laid_upon(config: C, fields: Mapping[str, Any], where: str) -> C:
    """`config` with some fields changed, table by table; raises ConfigError at `where` for one that does not exist."""
    return type(config).parse(merge(config.model_dump(exclude_unset=True), fields), where) if fields else config


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`under` with `over` laid upon it, table by table; lists are replaced, not joined."""
    merged = {key: _copied(value) for key, value in under.items()}
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping):
            merged[key] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = _copied(value)
    return merged


def _copied(value: Any) -> Any:
    """Tables of their own, so that what is changed in them later changes nothing else."""
    if isinstance(value, list | tuple):
        return [_copied(each) for each in value]
    return merge(value, {}) if isinstance(value, Mapping) else value


def chain_problems(phases: tuple[Phase, ...]) -> list[str]:
    """What does not go together from one phase to the next, each in one sentence."""
    names = [phase.name for phase in phases]
    repeated = {name for name in names if names.count(name) > 1}
    problems = [f"phases: two phases are named {name!r}; names must differ" for name in repeated]
    if phases[0].optimizer == "keep":
        problems.append(f"phases.{phases[0].name}.optimizer: there is no phase before it to keep a state of")
    for before, phase in pairwise(phases):
        where = f"phases.{phase.name}"
        continues = before.train.method == "lora" and phase.adapter == "continue"
        if continues and phase.train.method != "lora":
            problems.append(
                f"{where}.train.method = {phase.train.method}, but {before.name} trained an adapter; set "
                f"{where}.adapter = merge, so that it becomes part of the weights"
            )
        elif continues and before.train.adapter != phase.train.adapter:
            problems.append(
                f"{where}.train.adapter differs from that of {before.name}, so the same adapter cannot go on; make "
                f"them equal, or set {where}.adapter = merge to begin a new one"
            )
        if phase.optimizer == "keep" and before.train.final != "last":
            problems.append(
                f"{where}.optimizer = keep goes on with the last weights of {before.name}, but its train.final is "
                f"{before.train.final}; set that to last, or {where}.optimizer to reset"
            )
        if phase.optimizer == "keep" and not _same_weights(before, phase):
            problems.append(
                f"{where}.optimizer = keep needs the same weights to be trained by the same optimizer as in "
                f"{before.name}: equal train.method, train.freeze, train.optimizer, and no merged adapter; else reset"
            )
    return problems


def _same_weights(before: Phase, phase: Phase) -> bool:
    if any(getattr(before.train, name) != getattr(phase.train, name) for name in ("method", "optimizer", "freeze")):
        return False
    return phase.train.method != "lora" or phase.adapter == "continue"
