"""`tunesmith merge`: a step back towards the base, and what each step keeps."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.app import app, example
from tunesmith.cli.options import BaseModel, Out, Pool, Sets, sections

if TYPE_CHECKING:
    from tunesmith.cli.speakers import Speaker
    from tunesmith.types import Report, Verdict


@app.command(
    epilog=example(
        "tunesmith merge ./adapter --alpha 0.5 --out work/half",
        "tunesmith merge pool:cron --alpha 0.5 --out work/half --add",
        "tunesmith merge pool:cron --sweep 0.25,0.5,0.75 --policy recipe.toml --out work/sweep",
    )
)
def merge(
    tuned: Annotated[
        str,
        typer.Argument(metavar="TUNED", help="A model or adapter folder, pool:REF, or a hub id.", show_default=False),
    ],
    out: Out,
    alpha: Annotated[
        float | None, typer.Option("--alpha", metavar="X", min=0, max=1, help="0 is the base, 1 the tuned model.")
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option("--sweep", metavar="X,X,...", help="Merge at each of these, and measure and judge them all."),
    ] = None,
    base: BaseModel = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="RECIPE", help="Sweep with the [evaluate] and [gate] of this recipe."),
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Put the merged model into the pool, with its lineage.")] = False,
    pool: Pool = Path("pool"),
    sets: Sets = None,
) -> None:
    """Write base + alpha * (tuned - base): what tuning changed, in part.

    A plain LoRA stays an adapter. --sweep shows gains and losses of several alphas side by side, to choose from.
    """
    from tunesmith.cli.speakers import candidate
    from tunesmith.errors import ConfigError

    if (alpha is None) == (sweep is None):
        raise ConfigError("give either --alpha, to merge, or --sweep, to compare several")
    if sweep is not None and add:
        raise ConfigError("--add goes with --alpha: choose one of the sweep, then merge it")
    if alpha is not None and (policy is not None or sets):
        raise ConfigError("--policy and --set go with --sweep; --alpha measures nothing")
    speaker = candidate(tuned, pool, base)
    if alpha is not None:
        _merge_one(speaker, base, alpha, out, pool if add else None)
    else:
        _sweep(speaker, base, _alphas(sweep or ""), out, pool, policy, sections("merge", sets, "gate", "evaluate"))


def _alphas(text: str) -> list[float]:
    from tunesmith.errors import ConfigError

    try:
        found = sorted({float(each) for each in text.split(",")})
    except ValueError:
        found = []
    if not found or not all(0 < each < 1 for each in found):
        raise ConfigError(
            f"--sweep {text}: give numbers between 0 and 1, such as 0.25,0.5,0.75; 0 and 1 are shown anyway"
        )
    return found


def _ends(speaker: "Speaker", base: str | None) -> tuple["Speaker", Path]:
    """The base's speaker, and the folder of the tuned weights."""
    from tunesmith.cli.speakers import named
    from tunesmith.errors import ConfigError
    from tunesmith.model import model_folder

    if speaker.adapter is not None:
        return replace(speaker, label="base", adapter=None), speaker.adapter
    if speaker.base is not None:
        return replace(speaker, label="base", config=speaker.base, base=None), Path(speaker.config.name)
    if base is None:
        raise ConfigError("a whole model does not say what it was tuned from; name its base with --base")
    return replace(named(base, Path()), label="base"), model_folder(speaker.config)


def _merged(speaker: "Speaker", base: "Speaker", weights: Path, alpha: float, folder: Path) -> "Speaker":
    from tunesmith.model.merge import merge_back

    label = f"alpha {alpha:g}"
    if merge_back(base.config, weights, alpha, folder) == "lora":
        return replace(speaker, label=label, adapter=folder)
    whole = base.config.model_copy(update={"name": str(folder), "revision": None})
    return replace(speaker, label=label, config=whole, adapter=None, base=base.config)


def _merge_one(speaker: "Speaker", base_name: str | None, alpha: float, out: Path, pool: Path | None) -> None:
    from tunesmith.cli.console import console
    from tunesmith.errors import ConfigError

    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"--out {out}: this folder holds files; give a new one")
    base, weights = _ends(speaker, base_name)
    made = _merged(speaker, base, weights, alpha, out)
    kind = "adapter" if made.adapter else "model"
    console().print(f"{kind}  {out}  {alpha:g} of the way from {base.config.name} to {speaker.label}", soft_wrap=True)
    if pool is not None:
        _add(pool, speaker, base, weights, alpha, made)


def _add(pool: Path, speaker: "Speaker", base: "Speaker", weights: Path, alpha: float, made: "Speaker") -> None:
    from tunesmith.cli.console import console
    from tunesmith.files import folder_digest
    from tunesmith.model.merge import merge_facts
    from tunesmith.pool import add

    parent = {"name": base.config.name, "revision": base.config.revision, "digest": base.digest}
    method = "lora" if made.adapter else "full"
    facts = {"parent": parent, "shared_system": speaker.system}
    facts |= merge_facts(alpha, base.digest, folder_digest(weights), method)
    entry = add(pool, made.adapter or Path(made.config.name), facts)
    console().print(f"{entry.digest[:12]} is in {pool}; name it with:", soft_wrap=True)
    console().print(f"  tunesmith pool promote ALIAS {entry.digest[:12]}", soft_wrap=True)


def _sweep(
    speaker: "Speaker",
    base_name: str | None,
    alphas: list[float],
    out: Path,
    pool: Path,
    policy: Path | None,
    tables: Mapping[str, Any],
) -> None:
    from tunesmith.cli.candidates import Measuring, matched, read_policy
    from tunesmith.files import write_json
    from tunesmith.gate import gate

    recipe = read_policy(policy, tables)
    measuring = Measuring(recipe, policy, out / "reports", pool, base_name)
    base, weights = _ends(speaker, base_name)
    baseline = measuring.ask(base)
    found: dict[float, tuple[Report, Verdict]] = {}
    for alpha in (*alphas, 1.0):
        folder = out / f"alpha-{alpha:g}"
        made = speaker if alpha == 1.0 else _merged(speaker, base, weights, alpha, folder)
        before, (after,) = matched(baseline, measuring.ask(made))
        found[alpha] = after.report, gate(recipe.gate, after.report, before.report)
        write_json(out / f"verdict-{alpha:g}.json", found[alpha][1])
    _print_sweep(baseline.report, found, out)


def _print_sweep(baseline: "Report", found: Mapping[float, tuple["Report", "Verdict"]], out: Path) -> None:
    from tunesmith.cli.console import console, plain_table, print_table

    names = [f"alpha {alpha:g}" for alpha in found]
    table = plain_table("task", "base", *names, right=("base", *names))
    for task in baseline.tasks:
        if task.skipped or task.is_sealed:
            continue
        after = [report.task(task.task) for report, _ in found.values()]
        is_share = task.is_binary and all(each is not None and each.is_binary for each in after)
        cells = [_cell(each.mean if each else float("nan"), task.mean, is_share) for each in after]
        table.add_row(task.task, _level(task.mean, is_share), *cells)
    table.add_row("verdict", "", *(verdict.outcome for _, verdict in found.values()))
    print_table(console(), table)
    console().print(f"\\nThe merged models and their verdicts are in {out}.", soft_wrap=True)


def _level(value: float, is_share: bool) -> str:
    return f"{100 * value:.1f} %" if is_share else f"{value:.3f}"


def _cell(value: float, base: float, is_share: bool) -> str:
    change = f"{100 * (value - base):+.1f}" if is_share else f"{value - base:+.3f}"
    return f"{_level(value, is_share)} ({change})"
