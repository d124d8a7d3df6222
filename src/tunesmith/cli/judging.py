"""`tunesmith evaluate` and `gate`: what a model can do, and whether one is better than another without harm."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.app import app, example
from tunesmith.cli.options import DEFAULT_MODEL, BaseModel, Html, Model, Out, Pool, Sets, Work, do_stage, sections

if TYPE_CHECKING:
    from tunesmith.recipe import Recipe

EXIT_CODES = {"PASS": 0, "INCONCLUSIVE": 3, "FAIL": 4}


@app.command(
    epilog=example(
        "tunesmith evaluate golden.jsonl --out work/base",
        "tunesmith evaluate golden.jsonl --adapter runs/cron/train/final --out work/tuned",
        "tunesmith evaluate builtin:general --scorer contains --model pool:cron --out work/general",
    )
)
def evaluate(
    items: Annotated[
        str,
        typer.Argument(
            metavar="ITEMS",
            help="Golden items, a data file, builtin:general, or gsm8k:FILE.",
            show_default=False,
        ),
    ],
    out: Out,
    model: Model = DEFAULT_MODEL,
    adapter: Annotated[
        Path | None, typer.Option("--adapter", metavar="FOLDER", help="A peft adapter to put on the model.")
    ] = None,
    scorer: Annotated[
        str | None,
        typer.Option(
            "--scorer",
            metavar="S",
            help="exact, contains, number, equal, tool_call, likelihood, choice ..., or your own file.py:function.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="S", help="Use only the items of this split: dev, gate or vault."),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="N", min=1, help="The longest answer; 128 if nothing is said.")
    ] = None,
    max_items: Annotated[
        int | None, typer.Option("--max-items", metavar="N", min=1, help="Use only the first so many items.")
    ] = None,
    pool: Pool = Path("pool"),
    sets: Sets = None,
) -> None:
    """Ask a model every item, and score the answers.

    The model may also be `pool:REF`, an alias or digest of the pool, or a remote one, openai:NAME@URL. Writes
    report.json, which `gate` compares, and samples.jsonl with every answer. --set evaluate.panel=on asks the panel of
    the alignment tax as well.
    """
    from tunesmith.cli.speakers import asked
    from tunesmith.evaluate import evaluate as ask
    from tunesmith.tasks import prepare_tasks

    values = sections("evaluate", sets, "evaluate", "data", "model", "render")
    speaker = asked(model, pool, adapter, values["render"], **values["model"])
    told = {"name": _task_name(items), "path": items, "scorer": scorer, "split": split}
    recipe = _recipe({**told, "max_tokens": max_tokens, "max_items": max_items}, values)
    tasks = prepare_tasks(recipe, Path("heldout.jsonl"))

    def work(folder: Path) -> dict[str, Any]:
        generator, certifier = speaker.asked_once(recipe.evaluate), speaker.certifier(recipe.evaluate)
        report = ask(tasks, generator, folder, speaker.label, certifier)
        return {"means": {each.task: each.mean for each in report.tasks if each.scores}}

    marks = [each.fingerprint for each in tasks]
    passes = [recipe.evaluate.batch_prompts, recipe.evaluate.shapes, recipe.evaluate.certificate_items]
    inputs = [passes, marks, *speaker.marks]
    _, was_done = do_stage(out, "evaluate", inputs, work)
    print_report(out, speaker.label, was_done)


def _recipe(task: dict[str, Any], values: dict[str, Any]) -> "Recipe":
    """A recipe that holds one task, told by the command line, and what `--set` says."""
    from tunesmith.evaluate import TaskConfig
    from tunesmith.recipe import build_recipe

    told = TaskConfig.parse(task, "command line").model_dump()
    data = {"paths": [task["path"]], **values["data"]}
    # Whoever names the items has not asked for the panel; --set evaluate.panel=on does.
    evaluate = {"tasks": [told], "panel": "off", **values["evaluate"]}
    return build_recipe({"name": "evaluate", "data": data, "evaluate": evaluate})


def _task_name(items: str) -> str:
    """`general` of builtin:general, `gsm8k` of gsm8k:FILE, `golden` of work/golden.jsonl."""
    name, _, rest = items.partition(":")
    return rest if name == "builtin" else Path(name).name.split(".")[0]


def print_report(out: Path, label: str, was_done: bool) -> None:
    from tunesmith.cli.console import console, print_table
    from tunesmith.cli.scores import report_table
    from tunesmith.cli.taxes import tax_lines
    from tunesmith.evaluate.run import REPORT, SAMPLES
    from tunesmith.files import read_json
    from tunesmith.types import Report

    to = console()
    if was_done:
        to.print("Nothing to do: these items were asked before, of the same model.")
    report = Report.from_dict(read_json(out / REPORT))
    print_table(to, report_table(report, label))
    taxes = tax_lines(report)
    if taxes is not None:
        to.print()
        print_table(to, taxes)
    to.print()
    to.print(f"report   {out / REPORT}\nsamples  {out / SAMPLES}", soft_wrap=True)


@app.command(
    epilog=example(
        "tunesmith gate --candidate work/tuned --baseline work/base --set gate.improve.golden=0",
        "tunesmith gate --candidate ./adapter --baseline smollm2-135m",
        "tunesmith gate --candidate pool:cron --baseline smollm2-135m --policy recipe.toml",
    )
)
def gate(
    candidates: Annotated[
        list[str],
        typer.Option(
            "--candidate",
            metavar="A",
            help="The tuned model: a report or its folder, a model or adapter folder, pool:REF, or a hub id. "
            "Several are seeds of one recipe.",
            show_default=False,
        ),
    ],
    baseline: Annotated[
        str,
        typer.Option("--baseline", metavar="B", help="What to compare with, named alike.", show_default=False),
    ],
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="RECIPE", help="Read [gate] and [evaluate] of this recipe, and nothing else."),
    ] = None,
    base: BaseModel = None,
    work: Work = Path("work/gate"),
    pool: Pool = Path("pool"),
    sets: Sets = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the verdict to this file.")] = None,
    html: Html = None,
) -> None:
    """Judge one model, or one report, against another.

    Without a policy everything that was measured is judged by the default one. --set gate.improve.TASK=0 names a
    task that must get better, --set gate.keep.TASK=0.05 one that may lose five points at most. The exit code is 0 for
    PASS, 3 for INCONCLUSIVE and 4 for FAIL.
    """
    from tunesmith.cli.candidates import Measuring, matched, read_policy
    from tunesmith.cli.comparing import print_tables, write_comparison
    from tunesmith.cli.scores import print_verdict
    from tunesmith.files import write_json
    from tunesmith.gate import gate as judge
    from tunesmith.report import judged

    recipe = read_policy(policy, sections("gate", sets, "gate", "evaluate"))
    measuring = Measuring(recipe, policy, work, pool, base)
    against = measuring.measure(baseline)
    reports = [measuring.measure(name) for name in candidates]
    if len(reports) == 1:
        against, reports = matched(against, reports[0])
    verdict = judge(recipe.gate, [each.report for each in reports], against.report)
    rows = judged(verdict, reports[0].report)
    if len(reports) == 1:
        print_tables(rows, against.shown, reports[0].shown)
    print_verdict(verdict)
    if out is not None:
        write_json(out, verdict)
    if html is not None:
        write_comparison(html, against, reports[0], rows, recipe.gate.confidence, verdict)
    raise typer.Exit(EXIT_CODES[verdict.outcome])
