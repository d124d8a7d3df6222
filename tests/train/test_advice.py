"""Each rule speaks where it should, is silent where it should be, and names its source; nothing is rewritten."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import batches, rendered

from tunesmith.model import ModelConfig
from tunesmith.train import TrainConfig, advice
from tunesmith.train.advice import RULES, Facts, advise, document_share, has_chat_template
from tunesmith.train.plan import make_plan
from tunesmith.types import Part, Rendered

LORA = TrainConfig()
FULL = TrainConfig(method="full")
MUON = TrainConfig(method="full", optimizer={"kind": "muon"})
SMOOTH = TrainConfig(loss={"label_smoothing": 0.1})
PAIRS = TrainConfig(method="full", objective={"kind": "dpo"})
SOUND = Facts(
    config=LORA,
    batch_conversations=16,
    num_conversations=5_000,
    num_tokens=2_000_000,
    num_supervised=800_000,
    num_epochs=2.0,
    num_steps=600,
    num_warmup=30,
    learning_rate=2e-4,
    num_trained=5_000_000,
    document_share=0.0,
    is_post_trained=True,
    is_new=False,
)
SOUND_FULL = replace(SOUND, config=FULL, learning_rate=2e-5, num_trained=135_000_000)
SOUND_PAIRS = replace(SOUND, config=PAIRS, learning_rate=1e-6)

FIRES = [
    ("full_on_few", replace(SOUND_FULL, num_conversations=300)),
    ("lora_for_knowledge", replace(SOUND, document_share=1.0, num_tokens=20_000_000, is_post_trained=False)),
    ("small_adapter", replace(SOUND, num_supervised=6_000_000, num_tokens=9_000_000)),
    ("high_rate_for_full", replace(SOUND_FULL, learning_rate=1e-3)),
    ("low_rate_for_lora", replace(SOUND, learning_rate=2e-5)),
    ("high_rate_for_lora", replace(SOUND, learning_rate=1e-2)),
    ("high_rate_for_pairs", replace(SOUND_PAIRS, learning_rate=1e-4)),
    ("many_epochs_on_much", replace(SOUND, num_conversations=200_000, num_epochs=10)),
    ("raw_text_on_post_trained", replace(SOUND, document_share=0.9)),
    ("few_steps", replace(SOUND, num_steps=20, num_warmup=1)),
    ("few_conversations", replace(SOUND, num_conversations=20)),
    ("long_warmup", replace(SOUND, num_warmup=400)),
    ("little_supervised", replace(SOUND, num_supervised=10_000)),
    ("smoothing_of_short_answers", replace(SOUND, config=SMOOTH, num_supervised=30_000)),
]

SILENT = [
    ("full_on_few", replace(SOUND, num_conversations=300)),
    ("full_on_few", replace(SOUND_FULL, num_conversations=1000)),
    ("full_on_few", replace(SOUND_FULL, num_conversations=300, is_new=True)),
    ("lora_for_knowledge", replace(SOUND_FULL, document_share=1.0, num_tokens=20_000_000)),
    ("lora_for_knowledge", replace(SOUND, document_share=0.2, num_tokens=20_000_000)),
    ("lora_for_knowledge", replace(SOUND, document_share=1.0, num_tokens=100_000)),
    ("small_adapter", replace(SOUND_FULL, num_supervised=600_000_000)),
    ("high_rate_for_full", replace(SOUND, learning_rate=1e-3)),
    ("high_rate_for_full", replace(SOUND_FULL, learning_rate=None)),
    ("high_rate_for_full", replace(SOUND_FULL, learning_rate=1e-3, is_new=True)),
    ("high_rate_for_full", replace(SOUND_FULL, learning_rate=1e-2, config=MUON)),
    ("low_rate_for_lora", replace(SOUND_FULL, learning_rate=2e-5)),
    ("low_rate_for_lora", replace(SOUND, learning_rate=None)),
    ("low_rate_for_lora", replace(SOUND_PAIRS, config=TrainConfig(objective={"kind": "dpo"}), learning_rate=1e-5)),
    ("high_rate_for_lora", replace(SOUND, learning_rate=1e-3)),
    ("high_rate_for_pairs", replace(SOUND_FULL, learning_rate=1e-4)),
    ("many_epochs_on_much", replace(SOUND, num_conversations=300, num_tokens=100_000, num_epochs=15)),
    ("many_epochs_on_much", replace(SOUND, num_conversations=200_000, num_epochs=3)),
    ("raw_text_on_post_trained", replace(SOUND, document_share=1.0, is_post_trained=False)),
    ("few_steps", replace(SOUND, num_steps=20, config=TrainConfig(max_steps=20))),
    ("few_steps", replace(SOUND, num_steps=20, batch_conversations=1)),
    ("few_conversations", replace(SOUND, num_conversations=50)),
    ("long_warmup", replace(SOUND, num_warmup=300)),
    ("little_supervised", replace(SOUND, num_supervised=40_000)),
    ("little_supervised", replace(SOUND_PAIRS, num_supervised=10_000)),
    ("smoothing_of_short_answers", replace(SOUND, config=SMOOTH)),
    ("smoothing_of_short_answers", replace(SOUND, num_supervised=30_000)),
]


@pytest.mark.parametrize(("name", "facts"), FIRES, ids=[name for name, _ in FIRES])
def test_a_rule_speaks_alone_where_it_should(name, facts):
    text = getattr(advice, name)(facts)
    assert text is not None and not text.endswith(".")
    others = {rule.__name__ for rule in RULES if rule(facts) is not None} - {name}
    assert others == set()


@pytest.mark.parametrize(("name", "facts"), SILENT, ids=[f"{name}-{n}" for n, (name, _) in enumerate(SILENT)])
def test_a_rule_is_silent_where_it_should_be(name, facts):
    assert getattr(advice, name)(facts) is None


def test_every_rule_is_tested_to_speak_and_to_be_silent():
    names = {rule.__name__ for rule in RULES}
    assert names == {name for name, _ in FIRES} == {name for name, _ in SILENT}


@pytest.mark.parametrize("facts", [SOUND, SOUND_FULL, SOUND_PAIRS], ids=["lora", "full", "pairs"])
def test_sound_choices_hear_nothing(facts):
    assert advise(facts) == ()


def test_advice_names_its_source():
    [said] = advise(replace(SOUND_FULL, num_conversations=300))
    assert "300" in said.text and said.source.startswith("Zhou et al. 2023")
    for rule in RULES:
        source = rule.__doc__ or ""
        assert any(str(year) in source for year in range(2018, 2027)) or "guide" in source, rule.__name__


def labeled(parts):
    size = len(parts)
    return Rendered("a", np.arange(size, dtype=np.int32), np.ones(size, np.float32), parts=np.array(parts, np.uint8))


def test_documents_are_told_from_conversations():
    document = labeled([Part.CONTROL, Part.TEXT, Part.TEXT, Part.CONTROL])
    chat = labeled([Part.CONTROL, Part.TEXT, Part.CONTROL, Part.CONTROL, Part.TEXT, Part.CONTROL])
    assert document_share([document] * 30 + [chat] * 10) == pytest.approx(0.75)
    assert document_share([chat]) == 0.0 == document_share(rendered(5))


def test_a_chat_template_is_found(tmp_path):
    assert not has_chat_template(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert has_chat_template(tmp_path)


def test_a_plan_carries_advice_and_keeps_the_choice(tiny_model_folder):
    config = TrainConfig(method="full", learning_rate=1e-3, epochs=10, schedule={"warmup": 0.8})
    plan = make_plan(config, ModelConfig(name="m"), tiny_model_folder, batches(rendered(10), 4, epochs=10))
    said = " ".join(each.text for each in plan.advice)
    for part in ("10 conversations", "1.0e-03", "20 of 25 steps"):
        assert part in said
    assert (plan.config, plan.learning_rate, plan.num_warmup) == (config, 1e-3, 20)
