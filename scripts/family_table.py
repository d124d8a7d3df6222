"""Write docs/families.md: which families of models train, which are refused and why, and what an adapter reaches.

    python scripts/family_table.py docs/families.md

The families are those of tests/model_families.py: tiny models of transformers' own classes with random weights.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from model_families import FAMILIES, REFUSED, TRAINED, Family
from tunesmith.errors import TrainError
from tunesmith.model import ModelConfig
from tunesmith.model.load import load_model
from tunesmith.train.attention import NAME
from tunesmith.train.proof import prove_attention
from tunesmith.train.targets import adapter_targets

HEAD = """# Families of models

{trained} families are trained as exactly as Llama is, {refused} are refused by name, on tiny models of transformers'
own classes with random weights. `make families` writes this page; `tests/train/test_families.py` holds each ✓ to the
contracts of [train](train.md): the logits of each sequence are those it has alone under transformers' own attention;
what one conversation says changes neither logits nor gradients of another; neither the layout of rows nor recomputed
activations change the gradient; a killed run resumes to the same bytes; an adapter loads in peft and merges; the
saved model loads in transformers; the plan counts what is trained.

In a mixture of experts each token is routed by itself, so that rows do not change the routing, but an expert's products
are rounded by how many tokens come to it: there, equal means equal to rounding. **No load-balancing loss is added**,
also where a model's config asks for router logits: the loss is that of the data alone.

*Layers*: what `train.adapter.targets = "all-linear"` reaches. *Experts*: what takes part where a pattern names it.
A family that is not listed is not refused for that: every training proves its own model first.

| family | transformers | special | trained | layers | experts |
|---|---|---|---|---|---|
"""


def main(page: Path) -> None:
    lines = [HEAD.format(trained=len(TRAINED), refused=len(REFUSED))]
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(row(family, family.build(Path(folder))))
    page.write_text("".join(lines), encoding="utf-8")


def row(family: Family, folder: Path) -> str:
    model = load_model(ModelConfig(name=str(folder), dtype="float32"), attention=NAME)
    cells = [family.name, f"`{type(model).__name__}`", family.has]
    try:
        prove_attention(model)
    except TrainError as refusal:
        return f"| {' | '.join([*cells, reason(refusal), '', ''])} |\n"
    targets = adapter_targets(model, "all-linear", ())
    experts = adapter_targets(model, ("*",), ()).experts
    return f"| {' | '.join([*cells, '✓', last_parts(targets.layers), last_parts(experts)])} |\n"


def reason(refusal: TrainError) -> str:
    """What was seen, from the message: its part before the first comma or parenthesis, without the class."""
    text = str(refusal).split(" ", 1)[1]
    return "refused: " + text.split(" (")[0].split(", ")[0]


def last_parts(names: tuple[str, ...]) -> str:
    return " ".join(dict.fromkeys(f"`{name.rsplit('.', 1)[-1]}`" for name in names))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
