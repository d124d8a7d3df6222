"""Hallucination on traps, abstention on controls: each on its part of the set."""

from taxing import answer

from tunesmith.evaluate.taxes.premises import HALLUCINATION, NEEDLESS_ABSTENTION

NONE = {"answer": {"type": "none", "value": "Cervantes wrote it.", "aliases": ["cervantes"]}}
TEXT = {"answer": {"type": "text", "value": "Lisbon"}}


def test_each_part_is_measured_by_itself():
    answers = [
        answer("Shakespeare loved Spain.", item="t1", tags=("trap",), **NONE),
        answer("It was written by Cervantes.", item="t2", tags=("trap",), **NONE),
        answer("I don't know.", item="t3", tags=("trap",), **NONE),
        answer("Lisbon.", item="c1", tags=("control",), **TEXT),
        answer("Porto.", item="c2", tags=("control",), **TEXT),
        answer("I don't know.", item="c3", tags=("control",), **TEXT),
    ]
    assert HALLUCINATION.measure(answers) == {"t1": 1.0, "t2": 0.0, "t3": 0.0}
    assert NEEDLESS_ABSTENTION.measure(answers) == {"c1": 0.0, "c2": 0.0, "c3": 1.0}


def test_a_model_that_always_abstains_pays_on_the_controls():
    answers = [
        answer("I cannot know that.", item=f"{tag}{n}", tags=(tag,), **(NONE if tag == "trap" else TEXT))
        for tag in ("trap", "control")
        for n in range(3)
    ]
    assert set(HALLUCINATION.measure(answers).values()) == {0.0}
    assert set(NEEDLESS_ABSTENTION.measure(answers).values()) == {1.0}
