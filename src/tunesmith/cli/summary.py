"""What a person reads when a run ends: before and after, the verdict, what was lost, where it all is, what next."""

from shlex import quote
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from tunesmith.cli.changes import cut_answers, print_changes
from tunesmith.cli.console import console, print_paragraph, print_table
from tunesmith.cli.scores import comparison_table, print_verdict, verdict_line
from tunesmith.cli.taxes import tax_table
from tunesmith.evaluate import LIKELIHOOD
from tunesmith.progress import format_seconds

if TYPE_CHECKING:
    from tunesmith.pipeline import RunResult
    from tunesmith.recipe import Recipe
    from tunesmith.types import Report


def print_summary(recipe: "Recipe", result: "RunResult", seconds: float, source: str) -> None:
    """The whole summary; only the short verdict when there was nothing to do. `source` is the recipe's path."""
    to = console()
    if not result.did_work:
        _print_nothing_to_do(to, result)
        return
    to.print()
    _print_scores(to, recipe, result)
    if result.base and result.tuned:
        print_changes(to, result)
    _print_files(to, result)
    _print_pool(to, recipe, result)
    _print_next(to, recipe, result, source)
    to.print(f"\nDone in {format_seconds(seconds)}.")


def _print_nothing_to_do(to: Console, result: "RunResult") -> None:
    to.print(f"Nothing to do: every stage of {result.folder} is done on these inputs.", soft_wrap=True)
    if result.verdict:
        to.print(verdict_line(result.verdict), soft_wrap=True)
    to.print(f"Talk to it: {_chat(result, '')}", soft_wrap=True)


def _print_scores(to: Console, recipe: "Recipe", result: "RunResult") -> None:
    if not (result.base and result.tuned):
        to.print("Nothing was compared: the recipe has no evaluate.tasks.")
        return
    print_table(to, comparison_table(result.base, result.tuned))
    prices = [task.name for task in recipe.evaluate.tasks if task.scorer == LIKELIHOOD]
    note = "In parentheses: 95 % intervals."
    if prices:
        note += (
            f" {', '.join(prices)}: mean log-probability of the expected answer in nats a token; nearer 0 is better."
        )
    print_paragraph(to, note, style="dim")
    names = {task.task for task in result.tuned.tasks}
    for name, (base, tuned, items) in cut_answers(result.folder / "evaluate", names).items():
        limit = next((task.max_tokens for task in recipe.evaluate.tasks if task.name == name), None)
        text = (
            f"{name}: answers cut at {limit} tokens, scored as they stand: base {base:,}, tuned {tuned:,} of {items:,}."
        )
        print_paragraph(to, text, style="dim")
    to.print()
    _print_taxes(to, result.base, result.tuned)
    if result.verdict:
        print_verdict(result.verdict)


def _print_taxes(to: Console, base: "Report", tuned: "Report") -> None:
    """What tuning cost besides, where the panel was asked."""
    table = tax_table(base, tuned)
    if table is not None:
        print_table(to, table)
        print_paragraph(to, "Better and worse: beyond doubt at 95 %, each line by itself.", style="dim")
        to.print()


def _print_files(to: Console, result: "RunResult") -> None:
    folder = result.folder
    kind = "adapter" if (result.weights / "adapter_config.json").exists() else "model"
    found = {
        "run": folder,
        kind: result.weights,
        "samples": folder / "evaluate" / "tuned" / "samples.jsonl",
        "report": folder / "evaluate" / "tuned" / "report.json",
        "verdict": folder / "gate" / "verdict.json",
        "page": folder / "gate" / "report.html",
    }
    to.print(Text("\nWhere the files are", style="bold"))
    for name, path in found.items():
        if path.exists():
            to.print(f"  {name:<9}{path}", soft_wrap=True)


def _print_pool(to: Console, recipe: "Recipe", result: "RunResult") -> None:
    entry = result.entry.digest[:12]
    to.print(f"  {'entry':<9}{entry} in {recipe.pool.path}", soft_wrap=True)
    alias = result.alias
    if alias is None:
        print_paragraph(to, "The recipe has no pool.alias, so no name points to this model.", "  ", "  ")
    elif result.is_promoted:
        to.print(f"  {'alias':<9}{alias} points to this entry now", soft_wrap=True)
    else:
        print_paragraph(to, f"The alias {alias} was not moved: {_missing(result)} To move it all the same:", "  ", "  ")
        to.print(
            f"    tunesmith pool promote {alias} {entry} --force --why '...'{_pool_option(result)}",
            soft_wrap=True,
        )


def _missing(result: "RunResult") -> str:
    if result.verdict is None:
        return "there is no verdict."
    open_tasks = [finding.task for finding in result.verdict.open_findings]
    return f"the verdict is {result.verdict.outcome}, because of {', '.join(dict.fromkeys(open_tasks))} (see above)."


def _print_next(to: Console, recipe: "Recipe", result: "RunResult", source: str) -> None:
    data = " ".join(f"--set {quote(each)}" for each in _another_try(recipe))
    to.print(Text("\nWhat to try next", style="bold"))
    for purpose, command in (
        ("talk to it", _chat(result, "")),
        ("beside its base", _chat(result, " --against base")),
        ("another run", f"tunesmith run {quote(source)} {data}"),
    ):
        to.print(f"  {purpose:<17}{command}", soft_wrap=True)


def _another_try(recipe: "Recipe") -> list[str]:
    """A change worth trying: more passes over the data, or more steps where these are limited."""
    if recipe.train.max_steps is not None:
        return [f"train.max_steps={2 * recipe.train.max_steps}", f"name={recipe.name}-longer"]
    return [f"train.epochs={2 * recipe.train.epochs:g}", f"name={recipe.name}-longer"]


def _chat(result: "RunResult", options: str) -> str:
    reference = result.alias if result.alias and result.is_promoted else result.entry.digest[:12]
    return f"tunesmith chat {quote(reference)}{options}{_pool_option(result)}"


def _pool_option(result: "RunResult") -> str:
    pool = str(result.entry.path.parent.parent)
    return "" if pool == "pool" else f" --pool {quote(pool)}"
