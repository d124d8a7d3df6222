"""The mix: exact shares, every source as often as asked, an order made from lengths and seed alone."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.errors import ConfigError
from tunesmith.mix import MixConfig, Part, PartConfig, mix
from tunesmith.mix.tree import draw, tree_of
from tunesmith.pack import PackConfig, pack
from tunesmith.types import Rendered


class Sized:
    """Conversations of known sizes that must not be read before their batch is."""

    def __init__(self, name, lengths, readable=True):
        self.name, self.readable = name, readable
        self.lengths = np.array(lengths, np.int64)
        self.supervised = self.lengths // 2

    def __len__(self):
        return self.lengths.size

    def __getitem__(self, index):
        assert self.readable, "a mix read a conversation to make its order"
        size = int(self.lengths[index])
        weights = (np.arange(size) >= size - size // 2).astype(np.float32)
        return Rendered(f"{self.name}{index}", np.arange(size, dtype=np.int32), weights)


def part(name, lengths, readable=True, numbers=None, **amount):
    return Part(PartConfig(name=name, **amount), Sized(name, lengths, readable), f"mark-{name}", numbers)


def sizes(seed, count, longest=60):
    return np.random.default_rng(seed).integers(4, longest, count)


def amount(mixed, number):
    """What a source adds up to, in the mix's unit."""
    units = {"supervised": mixed.supervised, "tokens": mixed.lengths, "rows": np.ones(len(mixed), np.int64)}
    return int(units[mixed.config.weigh_by][mixed.sources == number].sum())


def largest(mixed, number):
    lengths = mixed.parts[number].rendered.lengths
    return int({"supervised": lengths // 2, "tokens": lengths, "rows": np.ones(1)}[mixed.config.weigh_by].max())


UNITS = st.sampled_from(["supervised", "tokens", "rows"])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 99), unit=UNITS, share=st.floats(0.01, 0.6), epochs=st.floats(0.3, 3.2))
def test_shares_are_hit_to_within_one_conversation(seed, unit, share, epochs):
    parts = [
        part("main", sizes(seed, 50), readable=False),
        part("weighed", sizes(seed + 1, 20), readable=False, weight=0.3),
        part("replay", sizes(seed + 2, 300), readable=False, share=share),
    ]
    mixed = mix(MixConfig(weigh_by=unit, seed=seed), parts, epochs)
    main, weighed, replay = (amount(mixed, number) for number in range(3))
    assert abs(weighed - 0.3 * main) <= largest(mixed, 1)
    assert abs(replay - share / (1 - share) * (main + weighed)) <= largest(mixed, 2)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), epochs=st.floats(0.1, 4.0))
def test_nothing_of_the_main_data_is_lost_and_nothing_is_seen_twice_before_all_was_seen(seed, epochs):
    parts = [part("main", sizes(seed, 30)), part("other", sizes(seed + 1, 7), weight=0.8, max_epochs=99)]
    mixed = mix(MixConfig(seed=seed), parts, epochs)
    starts = [0, *mixed.pass_ends[:-1].tolist()]
    assert mixed.pass_ends[-1] == len(mixed)
    for number, (first, last) in enumerate(zip(starts, mixed.pass_ends.tolist(), strict=True)):
        seen = Counter(mixed.indices[first:last][mixed.sources[first:last] == 0].tolist())
        whole = number < len(starts) - 1 or float(epochs).is_integer()
        assert set(seen.values()) == {1}
        assert len(seen) == 30 or not whole
    for number, each in enumerate(mixed.parts):
        mine = mixed.sources == number
        visits = list(zip(mixed.indices[mine].tolist(), mixed.epochs[mine].tolist(), strict=True))
        assert len(set(visits)) == len(visits), "a visit came twice"
        for epoch in range(max(mixed.epochs[mine], default=0)):
            assert len({index for index, at in visits if at == epoch}) == len(each.rendered)


def test_the_order_is_made_from_sizes_and_seed_alone():
    def made(seed, **changes):
        parts = [part("main", sizes(0, 40), False), part("other", sizes(1, 40), False, weight=0.5)]
        mixed = mix(MixConfig(seed=seed, **changes), parts, 2.0)
        return mixed.sources.tolist(), mixed.indices.tolist(), mixed.fingerprint

    assert made(3) == made(3)
    assert made(3)[:2] != made(4)[:2]
    assert made(3)[2] != made(4)[2] != made(4, weigh_by="rows")[2]


def test_another_source_leaves_the_choice_from_the_others_alone():
    one = mix(MixConfig(), [part("main", sizes(0, 40)), part("a", sizes(1, 40), epochs=0.5)])
    two = mix(MixConfig(), [part("main", sizes(0, 40)), part("b", sizes(2, 9)), part("a", sizes(1, 40), epochs=0.5)])
    assert set(one.indices[one.sources == 1]) == set(two.indices[two.sources == 2])


def test_a_fraction_of_a_source_is_another_fraction_in_each_pass():
    mixed = mix(MixConfig(), [part("main", sizes(0, 40)), part("some", sizes(1, 40), epochs=0.25)], 4.0)
    assert sorted(mixed.indices[mixed.sources == 1].tolist()) == list(range(40))
    assert set(mixed.epochs[mixed.sources == 1].tolist()) == {0}


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0, 1e6])
def test_temperature_is_size_to_the_power_of_its_inverse(temperature):
    parts = [part("main", [20] * 400), part("small", [20] * 25, max_epochs=1000), part("large", [20] * 1600)]
    mixed = mix(MixConfig(temperature=temperature, weigh_by="tokens"), parts)
    found = np.array([amount(mixed, number) for number in range(3)]) / 20
    wanted = np.array([400, 25, 1600.0]) ** (1 / temperature)
    np.testing.assert_allclose(found / found.sum(), wanted / wanted.sum(), atol=2 / found.sum())
    assert found[0] == 400


@pytest.mark.parametrize("amount", [{"weight": 2.0}, {"share": 0.5}])
def test_a_source_that_is_too_small_is_an_error_that_says_why(amount):
    parts = [part("main", [10] * 100), part("tiny", [10] * 10, **amount)]
    with pytest.raises(ConfigError, match=r"tiny would be visited (20|10)\.00 times .* max_epochs is 4 \(10 conv"):
        mix(MixConfig(), parts)
    accepted = mix(MixConfig(shortfall="accept"), parts)
    assert (accepted.sources == 1).sum() == 40
    assert "falls short: the source tiny" in "\n".join(draw(tree_of(accepted)))


def test_max_epochs_counts_over_all_passes_and_a_shortfall_is_spread_over_them():
    parts = [part("main", [10] * 100), part("tiny", [10] * 10, weight=0.2)]
    assert (mix(MixConfig(), parts, 2.0).sources == 1).sum() == 40
    with pytest.raises(ConfigError, match=r"6\.00 times"):
        mix(MixConfig(), parts, 3.0)
    spread = mix(MixConfig(shortfall="accept"), parts, 4.0)
    starts = [0, *spread.pass_ends[:-1].tolist()]
    spans = zip(starts, spread.pass_ends.tolist(), strict=True)
    assert [int((spread.sources[a:b] == 1).sum()) for a, b in spans] == [10, 10, 10, 10]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([part("main", [9]), part("main", [9])], "one name"),
        ([part("main", [9]), part("a", [9], share=0.6), part("b", [9], share=0.4)], "leaves nothing"),
        ([part("main", [9]), part("none", [], share=0.1)], "no conversation"),
        ([part("main", [9]), part("mute", [1], weight=1.0)], "no supervised tokens"),
    ],
)
def test_mixes_that_cannot_be_are_refused_by_name(parts, words):
    with pytest.raises(ConfigError, match=words):
        mix(MixConfig(), parts)


def test_two_amounts_for_one_source_are_refused():
    with pytest.raises(ValueError, match="weight and epochs say the same thing"):
        PartConfig(name="a", weight=1.0, epochs=2.0)


def curriculum(**fields):
    numbers = np.random.default_rng(0).permutation(60).astype(float)
    parts = [part("main", sizes(0, 40), numbers=numbers[:40]), part("b", sizes(1, 20), numbers=numbers[40:])]
    mixed = mix(MixConfig(curriculum=fields), parts, 2.0)
    values = np.where(mixed.sources == 0, numbers[np.minimum(mixed.indices, 39)], numbers[40:][mixed.indices % 20])
    return mixed, values[: mixed.pass_ends[0]], values[mixed.pass_ends[0] :]


def test_a_curriculum_orders_each_pass_across_sources():
    _, first, second = curriculum(by="number")
    assert first.tolist() == second.tolist() == sorted(first)
    assert curriculum(by="number", direction="descending")[1].tolist() == sorted(first, reverse=True)
    mixed, *_ = curriculum(by="tokens")
    assert (np.diff(mixed.lengths[: mixed.pass_ends[0]]) >= 0).all()


def test_stages_are_ordered_and_shuffled_within():
    _, first, second = curriculum(by="number", stages=3)
    for stage, other in zip(np.array_split(first, 3), np.array_split(second, 3), strict=True):
        assert sorted(stage) == sorted(other)
        assert stage.tolist() != sorted(stage)
    assert max(first[:20]) < min(first[20:40]) and max(first[20:40]) < min(first[40:])


def test_a_curriculum_by_number_needs_numbers():
    with pytest.raises(ConfigError, match=r"source b has no number .* data.number_field"):
        parts = [part("main", [9], numbers=np.array([1.0])), part("b", [9], numbers=np.array([np.nan]))]
        mix(MixConfig(curriculum={"by": "number"}), parts)


@pytest.mark.parametrize("layout", ["best_fit", "full_rows", "varlen", "padding"])
def test_packing_visits_the_mix_in_its_order_with_sources_and_epochs(layout):
    parts = [part("main", sizes(0, 40)), part("other", sizes(1, 6), weight=0.5, max_epochs=99)]
    mixed = mix(MixConfig(), parts, 1.5)
    batches = pack(PackConfig(batch_conversations=8, row_tokens=120, layout=layout), mixed)
    found = [batches[number] for number in range(len(batches))]
    visits = [
        visit
        for batch in found
        for row in batch.rows
        for visit in zip(row.sources, row.conversation_ids, row.epochs, strict=True)
    ]
    wanted = [(each.source, each.conversation_id, epoch) for each, epoch in zip(mixed, mixed.epochs, strict=True)]
    assert Counter(visits) == Counter(wanted)
    assert [batch.epoch for batch in found] == sorted(batch.epoch for batch in found)
    if layout != "full_rows":
        for number, batch in enumerate(found):
            assert Counter(batch.conversation_ids) == Counter(each[1] for each in wanted[8 * number : 8 * number + 8])


def test_a_mix_is_packed_once():
    mixed = mix(MixConfig(), [part("main", [9, 9])], 2.0)
    with pytest.raises(ConfigError, match="holds all passes"):
        pack(PackConfig(), mixed, 2.0)
    assert pack(PackConfig(), mixed).num_conversations == 4


def test_a_resumed_stream_goes_on_in_the_mix():
    parts = [part("main", sizes(0, 30)), part("other", sizes(1, 30), share=0.2)]
    config = PackConfig(batch_conversations=4)
    whole = list(pack(config, mix(MixConfig(), parts, 2.0), source="m"))
    stopped = pack(config, mix(MixConfig(), parts, 2.0), source="m")
    head = [batch for _, batch in zip(range(5), stopped, strict=False)]
    resumed = pack(config, mix(MixConfig(), parts, 2.0), source="m")
    resumed.restore(stopped.state())
    ids = [batch.conversation_ids for batch in [*head, *resumed]]
    assert ids == [batch.conversation_ids for batch in whole]


def test_the_tree_counts_what_is_in_the_mix():
    parts = [part("main", sizes(0, 40)), part("replay", sizes(1, 100), share=0.1)]
    mixed = mix(MixConfig(), parts, 2.0)
    tree = tree_of(mixed)
    assert tree.num_visits == sum(branch.num_visits for branch in tree.branches) == len(mixed)
    assert tree.num_tokens == sum(each.num_tokens for each in mixed)
    assert tree.num_supervised == sum(each.num_supervised for each in mixed)
    assert tree.branches[0].epochs == 2.0
    assert tree.branches[1].share == pytest.approx(0.1, abs=0.02)
    drawn = draw(tree)
    assert drawn[1].startswith("├─ main") and drawn[2].startswith("└─ replay")
    assert "mark-replay" in drawn[2] and "share 0.1" in drawn[2]


def test_equal_ids_of_two_sources_stay_apart():
    rendered = Sized("line", [9, 9])
    parts = [Part(PartConfig(name=name), rendered, name) for name in ("main", "other")]
    names = sorted(each.conversation_id for each in mix(MixConfig(), parts))
    assert names == ["line0", "line1", "other/line0", "other/line1"]
