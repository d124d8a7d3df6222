"""`tunesmith pool ...`: the models that were kept, and the names that point to them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.cli.app import app, example
from tunesmith.cli.options import DEFAULT_MODEL, Model, Pool

pool_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(
    pool_app,
    name="pool",
    help="Keep models by digest, and move the names on them.",
    epilog=example("tunesmith pool list", "tunesmith pool rollback cron"),
)

Reference = Annotated[
    str,
    typer.Argument(metavar="REF", help="An alias, a digest, or its first six or more digits.", show_default=False),
]
Alias = Annotated[str, typer.Argument(metavar="ALIAS", help="The alias.", show_default=False)]
Why = Annotated[str | None, typer.Option("--why", metavar="TEXT", help="The reason, kept in the alias's history.")]
DEFAULT_POOL = Path("pool")


@pool_app.command("list", epilog=example("tunesmith pool list"))
def list_entries(pool: Pool = DEFAULT_POOL) -> None:
    """List all entries, oldest first, with their aliases."""
    from tunesmith.cli.console import console, plain_table, print_table
    from tunesmith.pool import aliases, entries

    to = console()
    found, pointers = entries(pool), aliases(pool)
    if not found:
        to.print(f"{pool}: no entries yet; `tunesmith run` and `tunesmith tune` add them.", soft_wrap=True)
        return
    table = plain_table("entry", "added", "base", "verdict", "aliases")
    for entry in found:
        names = [alias for alias, digest in pointers.items() if digest == entry.digest]
        parent = Path(entry.manifest["parent"]["name"]).name
        facts = (_minute(entry.manifest["added"]), parent, _outcome(entry.manifest), ", ".join(names) or "-")
        table.add_row(entry.digest[:12], *facts)
    print_table(to, table)


@pool_app.command(epilog=example("tunesmith pool show cron"))
def show(reference: Reference, pool: Pool = DEFAULT_POOL) -> None:
    """Show where an entry came from, and why it was trusted."""
    from tunesmith.cli.console import console
    from tunesmith.cli.scores import print_verdict
    from tunesmith.pool import resolve
    from tunesmith.types import Verdict

    entry = resolve(pool, reference, check=False)
    manifest, to = entry.manifest, console()
    facts = {
        "digest": entry.digest,
        "added": _minute(manifest["added"]),
        "method": manifest["method"],
        "base": f"{manifest['parent']['name']} ({manifest['parent']['digest'][:12]})",
        "run": manifest["run"],
        "weights": entry.path / "weights",
        "system": manifest["shared_system"],
    }
    for name, value in facts.items():
        if value is not None:
            to.print(f"{name:<9}{value}", soft_wrap=True)
    if manifest["recipe"]:
        to.print(f"\n# recipe\n{manifest['recipe'].strip()}", soft_wrap=True)
    to.print()
    if manifest["verdict"]:
        print_verdict(Verdict.from_dict(manifest["verdict"]))
    else:
        to.print("No gate has judged it.")


@pool_app.command(epilog=example("tunesmith pool history cron"))
def history(alias: Alias, pool: Pool = DEFAULT_POOL) -> None:
    """Show every move of an alias, oldest first."""
    from tunesmith.cli.console import console, plain_table, print_table
    from tunesmith.pool import history as moves

    table = plain_table("when", "action", "entry", "verdict", "why")
    for move in moves(pool, alias):
        facts = (move["action"], move["digest"][:12], move["outcome"] or "none", move["why"] or "-")
        table.add_row(_minute(move["time"]), *facts)
    print_table(console(), table)


@pool_app.command(
    epilog=example(
        "tunesmith pool promote cron 3fa12bc09d4e",
        "tunesmith pool promote cron 3fa12bc09d4e --force --why 'general losses are known'",
    )
)
def promote(
    alias: Alias,
    reference: Reference,
    force: Annotated[bool, typer.Option("--force", help="Override the verdict; needs --why.")] = False,
    why: Why = None,
    pool: Pool = DEFAULT_POOL,
) -> None:
    """Point an alias to an entry whose verdict is PASS."""
    from tunesmith.pool import promote as move

    _say_moved(alias, move(pool, alias, reference, force=force, why=why))


@pool_app.command(epilog=example("tunesmith pool rollback cron --why 'answers got longer'"))
def rollback(alias: Alias, why: Why = None, pool: Pool = DEFAULT_POOL) -> None:
    """Point an alias back to the entry before."""
    from tunesmith.pool import rollback as move_back

    _say_moved(alias, move_back(pool, alias, why=why))


@pool_app.command(epilog=example("tunesmith pool verify", "tunesmith pool verify cron"))
def verify(
    reference: Annotated[
        str | None, typer.Argument(metavar="REF", help="An alias or digest; all entries by default.")
    ] = None,
    pool: Pool = DEFAULT_POOL,
) -> None:
    """Hash the weights again; fail if they have changed."""
    from tunesmith.cli.console import console
    from tunesmith.pool import entries, resolve
    from tunesmith.pool import verify as check

    found = entries(pool) if reference is None else [resolve(pool, reference, check=False)]
    for entry in found:
        check(entry)
        console().print(f"{entry.digest[:12]} is what was added", soft_wrap=True)
    if not found:
        console().print(f"{pool}: no entries to verify.", soft_wrap=True)


@pool_app.command(
    epilog=example(
        "tunesmith pool add work/train/final --model smollm2-135m",
        "tunesmith pool add adapter --model ./base --verdict verdict.json",
    )
)
def add(
    weights: Annotated[Path, typer.Argument(metavar="FOLDER", help="An adapter or a whole model.", show_default=False)],
    model: Model = DEFAULT_MODEL,
    verdict: Annotated[
        Path | None, typer.Option("--verdict", metavar="FILE", help="The verdict of `tunesmith gate` on it.")
    ] = None,
    pool: Pool = DEFAULT_POOL,
) -> None:
    """Add weights from elsewhere; --model names their base."""
    from tunesmith.cli.console import console
    from tunesmith.doors import model_name
    from tunesmith.gate import read_verdict
    from tunesmith.model import ModelConfig, model_digest, model_folder
    from tunesmith.pool import add as keep

    base = ModelConfig(name=model_name(model))
    facts: dict[str, Any] = {
        "method": "lora" if (weights / "adapter_config.json").is_file() else "full",
        "parent": {"name": base.name, "digest": model_digest(model_folder(base))},
        "verdict": read_verdict(verdict).to_dict() if verdict else None,
    }
    entry = keep(pool, weights, facts)
    console().print(f"{entry.digest[:12]} is in {pool}; name it with:", soft_wrap=True)
    console().print(f"  tunesmith pool promote ALIAS {entry.digest[:12]}", soft_wrap=True)


def _say_moved(alias: str, move: Mapping[str, Any]) -> None:
    from tunesmith.cli.console import console

    before = f" (before: {move['previous'][:12]})" if move["previous"] else ""
    console().print(f"{alias} points to {move['digest'][:12]} now{before}", soft_wrap=True)


def _minute(time: str) -> str:
    """`2026-03-01 12:30` of an ISO time."""
    return time[:16].replace("T", " ")


def _outcome(manifest: Mapping[str, Any]) -> str:
    verdict = manifest["verdict"]
    return verdict["outcome"] if verdict else "none"
