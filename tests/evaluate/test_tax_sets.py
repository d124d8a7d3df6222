"""The sets of the panel: large enough, distinct, of two levels, readable; and the table of taxes is sound."""

from importlib.resources import files

import pytest

from tunesmith.evaluate.taxes import TAXES
from tunesmith.verify import BUILT_IN, read_items

SETS = sorted({tax.panel_set.name for tax in TAXES})


def items_of(name):
    return read_items(files("tunesmith") / "verify" / "sets" / f"{name}.jsonl")


def asked(item):
    return " ".join(message.content for message in item.messages).casefold()


@pytest.mark.parametrize("name", SETS)
def test_a_set_has_sixty_different_items_of_two_levels(name):
    items = items_of(name)
    assert len({asked(item) for item in items}) == len(items) >= 60
    levels = [tag for item in items for tag in item.tags if tag.startswith("level:")]
    assert len(levels) == len(items)
    assert set(levels) == {"level:1", "level:2"}
    assert min(levels.count("level:1"), levels.count("level:2")) >= len(items) / 5
    assert {item.split for item in items} == {"gate"}


def test_names_are_distinct_and_scorers_known():
    assert len({tax.name for tax in TAXES}) == len(TAXES)
    for tax in TAXES:
        assert tax.panel_set.scorer in BUILT_IN
        assert tax.about.endswith(".")
        assert tax.better in ("higher", "lower")


def test_a_set_is_asked_in_one_way():
    assert len({tax.panel_set for tax in TAXES}) == len(SETS)


def test_refusals_are_a_two_by_two_table():
    items = items_of("refusals")
    wanted = {"safe": "comply", "unsafe": "refuse"}
    for item in items:
        [side] = set(wanted) & set(item.tags)
        assert item.answer["value"] == wanted[side]
    safe, unsafe = ({item.cluster for item in items if side in item.tags} for side in wanted)
    assert len([item for item in items if "safe" in item.tags]) >= 60
    assert len([item for item in items if "unsafe" in item.tags]) >= 40
    assert len(safe & unsafe) >= 30  # contrast pairs: the same words with another meaning
