"""`tunesmith harness`: the tasks of lm-evaluation-harness, run by itself, as a report of ours."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.cli.app import app, example
from tunesmith.cli.options import BaseModel, Out, Pool, do_stage


@app.command(
    epilog=example(
        "tunesmith harness mytask --include tasks/ --python harness/bin/python \\",
        "    --model pool:cron --out work/harness",
    )
)
def harness(
    tasks: Annotated[
        str, typer.Argument(metavar="TASKS", help="Names of its tasks, with commas between.", show_default=False)
    ],
    python: Annotated[
        Path,
        typer.Option(
            "--python", metavar="FILE", help="The python of an environment that has lm_eval.", show_default=False
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model", metavar="M", help="A model or adapter folder, pool:REF, or a hub id.", show_default=False
        ),
    ],
    out: Out,
    include: Annotated[
        Path | None, typer.Option("--include", metavar="FOLDER", help="Where task files of your own lie.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", min=1, help="Its batch size.")] = 1,
    max_items: Annotated[
        int | None, typer.Option("--max-items", metavar="N", min=1, help="Only the first so many items of each task.")
    ] = None,
    chat_template: Annotated[bool, typer.Option("--chat-template", help="Ask with the model's chat template.")] = False,
    base: BaseModel = None,
    pool: Pool = Path("pool"),
) -> None:
    """Run tasks of lm-evaluation-harness, in its own environment.

    Its logs are kept in --out, and read into a report.json and samples.jsonl that gate and compare understand.
    """
    from tunesmith.cli.judging import print_report
    from tunesmith.cli.speakers import candidate
    from tunesmith.evaluate.logs.child import Errand, run_harness
    from tunesmith.evaluate.run import REPORT, SAMPLES
    from tunesmith.files import folder_digest, write_json, write_jsonl
    from tunesmith.model import model_folder

    speaker = candidate(model, pool, base)
    names = tuple(each.strip() for each in tasks.split(",") if each.strip())
    errand = Errand(
        names,
        model_folder(speaker.config),
        speaker.adapter,
        speaker.config.dtype,
        include,
        batch_size,
        max_items,
        chat_template,
    )

    def work(folder: Path) -> dict[str, Any]:
        log = run_harness(python, errand, folder / "harness")
        # Unlike the reader of an old log, we know the weights.
        report = replace(log.report, model=speaker.label, model_digest=speaker.digest)
        write_json(folder / REPORT, report)
        write_jsonl(folder / SAMPLES, log.samples)
        return {"means": {each.task: each.mean for each in report.tasks if each.scores}}

    files = folder_digest(include) if include else None
    inputs = [errand, str(python.absolute()), files, speaker.digest]
    _, was_done = do_stage(out, "harness", inputs, work)
    print_report(out, speaker.label, was_done)
