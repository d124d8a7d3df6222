"""Models without a chat template: they go on with plain texts, and say so where they are asked for more."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from tunesmith.cli import app
from tunesmith.errors import RenderError
from tunesmith.files import read_json
from tunesmith.generate import Prompt, Sampling
from tunesmith.generate.local import LocalGenerator
from tunesmith.model import ModelConfig
from tunesmith.model.load import load_model
from tunesmith.render import RenderConfig, asking_renderer
from tunesmith.render.renderer import TemplateRenderer
from tunesmith.types import Message


@pytest.fixture(scope="module")
def untemplated(tiny_model_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    shutil.copytree(tiny_model_folder, folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    config = read_json(folder / "tokenizer_config.json")
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def generator(folder):
    load = lambda: load_model(ModelConfig(name=str(folder), dtype="float32"))  # noqa: E731
    return LocalGenerator(load, asking_renderer(folder, RenderConfig()), "d")


def test_a_plain_text_costs_and_goes_on_the_same_with_and_without_a_template(untemplated, tiny_model_folder):
    plain, chat = generator(untemplated), generator(tiny_model_folder)
    assert isinstance(chat.renderer, TemplateRenderer)
    asked = [Prompt(text="every day at"), Prompt(text="two plus")]
    assert plain.generate(asked, Sampling(8)) == chat.generate(asked, Sampling(8))
    assert plain.log_likelihood(asked, [[" noon"], [" two"]]) == chat.log_likelihood(asked, [[" noon"], [" two"]])


def test_the_end_of_a_document_ends_a_plain_text(untemplated):
    model = generator(untemplated)
    (whole,) = model.generate([Prompt(text="two plus")], Sampling(6))
    third = whole.tokens[2]
    assert model.renderer.tokenizer.control_id(model.renderer.tokenizer.end_of_text) in model.renderer.document_stops
    model.renderer.document_stops = (third,)
    (cut,) = model.generate([Prompt(text="two plus")], Sampling(6))
    assert cut.tokens == whole.tokens[: whole.tokens.index(third) + 1] and cut.stopped


def test_messages_are_refused_with_what_can_be_asked(untemplated):
    with pytest.raises(RenderError, match=r"no chat template.*mmlu_text:FILE"):
        generator(untemplated).generate([Prompt((Message("user", "hi"),))], Sampling(2))


def test_a_base_model_is_evaluated_on_plain_texts(untemplated, in_tmp):
    record = {"question": "Two plus two?", "choices": ["four", "five"], "answer": 0}
    (in_tmp / "quiz.jsonl").write_text(json.dumps(record) + "\n")
    (in_tmp / "wiki.txt").write_text("every day at noon\n" * 9)
    for path in ("mmlu_text:quiz.jsonl", "arc_text:quiz.jsonl", "text:wiki.txt"):
        out = path.partition(":")[0]
        done = CliRunner().invoke(app, ["evaluate", path, "--model", str(untemplated), "--out", out])
        assert done.exit_code == 0, (done.output, done.exception)
        (task,) = read_json(in_tmp / out / "report.json")["tasks"]
        assert len(task["scores"]) == 1
    assert task["better"] == "lower" and task["unit"] == "bits per byte" and task["facts"]["perplexity"] > 1
