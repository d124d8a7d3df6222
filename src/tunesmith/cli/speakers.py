"""Who answers: a model by name, with or without an adapter, or an entry of the pool; and loading it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.doors import model_name
from tunesmith.errors import ConfigError, PoolError
from tunesmith.evaluate import EvaluateConfig
from tunesmith.files import folder_digest, read_json
from tunesmith.generate import Shapes
from tunesmith.generate.endpoint import Endpoint, endpoint_from, is_remote
from tunesmith.model import ModelConfig, model_digest, model_folder, tokenizer_folder
from tunesmith.render import RenderConfig

if TYPE_CHECKING:
    from tunesmith.generate import Generator
    from tunesmith.generate.certificate import Certifier
    from tunesmith.generate.local import LocalGenerator

POOL_PREFIX = "pool:"
ADAPTER = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Speaker:
    """A model before it is loaded. `system` is the system message that all its training data shared."""

    label: str
    config: ModelConfig
    adapter: Path | None = None
    system: str | None = None
    base: ModelConfig | None = None
    render: RenderConfig = field(default_factory=RenderConfig)

    @property
    def digest(self) -> str:
        """Names the weights as the pipeline does: the base's digest, and that of what was trained on top."""
        if self.adapter is not None:
            return f"{model_digest(model_folder(self.config))}+{folder_digest(self.adapter)}"
        if self.base is not None:
            return f"{model_digest(model_folder(self.base))}+{folder_digest(Path(self.config.name))}"
        return model_digest(model_folder(self.config))

    @property
    def marks(self) -> list[Any]:
        """What decides its answers besides what it is asked."""
        return [self.digest, self.config.dtype, self.render]

    def asked_once(self, config: EvaluateConfig) -> "Generator":
        """The model behind the ledger: what it has been asked before, it is not asked again."""
        from tunesmith.generate.engines import known_engine, local_mark, local_mode
        from tunesmith.generate.ledger import recorded
        from tunesmith.render import asking_renderer

        renderer = asking_renderer(tokenizer_folder(self.config), self.render)
        mode = local_mode(self.config.dtype, config.batch_prompts, config.shapes)
        mark = local_mark(self.digest, mode, renderer)
        make = lambda: load(self, config.batch_prompts, config.shapes)  # noqa: E731
        return recorded(make, config.ledger, digest=self.digest, engine=known_engine(mark), mark=mark)

    def certifier(self, config: EvaluateConfig) -> "Certifier | None":
        """What gives a report its A/A certificate."""
        from tunesmith.generate.certificate import Certifier, Subject
        from tunesmith.generate.engines import local_mark, local_mode
        from tunesmith.render import asking_renderer

        if not config.certificate_items:
            return None
        renderer = asking_renderer(tokenizer_folder(self.config), self.render)
        mark = local_mark(self.digest, local_mode(self.config.dtype, config.batch_prompts, config.shapes), renderer)
        subject = Subject(self.config, self.adapter, config.shapes)
        return Certifier(subject, renderer, config.batch_prompts, mark, config.certificate_items)


@dataclass(frozen=True, slots=True)
class RemoteSpeaker:
    """A model behind an address; it has a name, and no weights that could be seen."""

    endpoint: Endpoint

    @property
    def label(self) -> str:
        return self.endpoint.model

    @property
    def marks(self) -> list[Any]:
        """What decides its answers besides what it is asked."""
        return [self.endpoint.digest]

    def asked_once(self, config: EvaluateConfig) -> "Generator":
        """The model behind the ledger, so that no answer is paid for twice."""
        from tunesmith.generate.ledger import recorded
        from tunesmith.generate.remote import RemoteGenerator

        endpoint = self.endpoint
        make = lambda: RemoteGenerator(endpoint, requests=config.remote_requests)  # noqa: E731
        return recorded(make, config.ledger, digest=endpoint.digest, engine=endpoint.engine, mark=endpoint.mark)

    def certifier(self, config: EvaluateConfig) -> None:
        """None: asking again would be paid for, and a report says who answered."""


def asked(
    name: str, pool: Path, adapter: Path | None, render: Mapping[str, Any], **options: Any
) -> Speaker | RemoteSpeaker:
    """Who is evaluated: a model on this machine, an entry of the pool, or a remote model (openai:NAME@URL)."""
    if not is_remote(name):
        speaker = named(name, pool, adapter, **options)
        return replace(speaker, render=RenderConfig.parse(render, "render")) if render else speaker
    if adapter is not None or render or options:
        raise ConfigError(f"--model {name}: a remote model takes no --adapter, model.* or render.*")
    return RemoteSpeaker(endpoint_from(name))


def named(name: str, pool: Path, adapter: Path | None = None, **options: Any) -> Speaker:
    """The speaker of `--model NAME`, where NAME may be `pool:REF`. `options` are further fields of `model.*`."""
    if name.startswith(POOL_PREFIX):
        if adapter is not None:
            raise ConfigError(f"--adapter does not go with --model {name}: the entry has its own")
        return from_pool(pool, name.removeprefix(POOL_PREFIX))
    if adapter is not None and not (adapter / "adapter_config.json").is_file():
        raise ConfigError(
            f"--adapter {adapter}: no adapter_config.json in it; give a folder such as runs/NAME/train/final"
        )
    label = Path(name).name + ("+adapter" if adapter else "")
    return Speaker(label, ModelConfig.parse({"name": model_name(name), **options}, "model"), adapter)


def candidate(name: str, pool: Path, base: str | None = None) -> Speaker:
    """The speaker of a model that any tool may have trained: a model or adapter folder, a hub id, or `pool:REF`.

    An adapter stands on `base`, or on the model that its own configuration names.
    """
    folder = Path(name)
    if not (folder / ADAPTER).is_file():
        return named(name, pool)
    told = base or read_json(folder / ADAPTER).get("base_model_name_or_path")
    if not told:
        raise ConfigError(f"{folder}: its {ADAPTER} does not name the base model; name it with --base")
    return named(str(told), pool, folder)


def from_pool(pool: Path, reference: str, base_name: str | None = None) -> Speaker:
    """The speaker of a pool entry. `base_name` is where its base model lies now, if it has moved."""
    from tunesmith.pool import aliases, resolve

    entry = resolve(pool, reference)
    base = _base_of(entry.manifest)
    if base_name is not None:
        base = base.model_copy(update={"name": model_name(base_name), "revision": None})
    _check_base(entry.manifest, base)
    label = reference if reference in aliases(pool) else entry.digest[:12]
    weights = entry.path / "weights"
    system = entry.manifest.get("shared_system")
    told = RenderConfig.parse(_recipe_of(entry.manifest).get("render", {}), "the entry's recipe")
    if (weights / "adapter_config.json").is_file():
        return Speaker(label, base, weights, system, base, told)
    whole = base.model_copy(update={"name": str(weights), "revision": None})
    return Speaker(label, whole, None, system, base, told)


def default_reference(pool: Path) -> str:
    """The alias to talk to when none is named: the one that was moved last."""
    from tunesmith.pool import aliases, entries, history

    pointers = aliases(pool)
    if pointers:
        return max(pointers, key=lambda alias: str(history(pool, alias)[-1]["time"]))
    known = [entry.digest[:12] for entry in entries(pool)]
    if known:
        raise PoolError(
            f"{pool}: no alias points to a model yet (none has passed its gate); name one: tunesmith chat {known[-1]}"
        )
    raise PoolError(
        f"{pool}: no model in this pool yet. Make one with `tunesmith quickstart` or `tunesmith tune`, name the "
        "right folder with --pool, or talk to any model with --model"
    )


def load(speaker: Speaker, batch_prompts: int = 1, shapes: Shapes = "fixed") -> "LocalGenerator":
    """The model, ready to answer; it is loaded when it is first asked."""
    from tunesmith.generate.local import LocalGenerator
    from tunesmith.model.load import load_model
    from tunesmith.render import asking_renderer

    renderer = asking_renderer(model_folder(speaker.config), speaker.render)
    weights = lambda: load_model(speaker.config, adapter=speaker.adapter)  # noqa: E731
    dtype = speaker.config.dtype
    return LocalGenerator(weights, renderer, speaker.digest, batch_prompts=batch_prompts, shapes=shapes, dtype=dtype)


def _recipe_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return tomllib.loads(manifest["recipe"]) if manifest.get("recipe") else {}


def _base_of(manifest: Mapping[str, Any]) -> ModelConfig:
    """How the entry's base is loaded: as its recipe says, or by the parent's name alone."""
    recipe = _recipe_of(manifest)
    if recipe:
        return ModelConfig.parse(recipe.get("model", {}), "the entry's recipe")
    parent = manifest["parent"]
    return ModelConfig(name=parent["name"], revision=parent.get("revision"))


def _check_base(manifest: Mapping[str, Any], base: ModelConfig) -> None:
    """Weights trained on one base answer wrongly on another."""
    wanted, seen = manifest["parent"]["digest"], model_digest(model_folder(base))
    if seen != wanted:
        raise PoolError(
            f"{manifest['digest'][:12]} was trained on {manifest['parent']['name']} with the digest {wanted[:12]}, but "
            f"{base.name} has {seen[:12]} here; name the right base with --model"
        )
