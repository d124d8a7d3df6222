"""Entries: named by content, complete or absent, and checked before use."""

import os
import sys

import pytest

from tunesmith import pool as pools
from tunesmith.errors import PoolError
from tunesmith.files import read_json

PARENT = {"name": "tiny-base", "digest": "b" * 64}


def test_an_entry_holds_its_weights_and_facts(pool, add):
    entry = add("a")
    assert entry.path == pool / "entries" / entry.digest
    assert (entry.path / "weights" / "adapter_model.safetensors").read_text() == "a"
    assert entry.manifest["method"] == "lora" and entry.manifest["parent"] == PARENT
    assert entry.manifest["recipe"] is None
    assert read_json(entry.path / "manifest.json")["digest"] == entry.digest
    assert pools.entries(pool) == [entry]


def test_the_same_content_is_the_same_entry_with_its_first_facts(pool, make_weights):
    first = pools.add(pool, make_weights("a"), {"parent": PARENT, "run": "runs/one"})
    again = pools.add(pool, make_weights("a"), {"parent": PARENT, "run": "runs/two"})
    assert again == first and again.manifest["run"] == "runs/one"
    assert len(pools.entries(pool)) == 1


def test_the_parent_is_part_of_the_digest(pool, make_weights):
    one = pools.add(pool, make_weights("a"), {"parent": PARENT})
    other = pools.add(pool, make_weights("a"), {"parent": {"name": "other", "digest": "c" * 64}})
    assert one.digest != other.digest


def test_a_copy_is_made_where_links_are_not_possible(pool, add, monkeypatch):
    def refuse(*_):
        raise OSError("cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    entry = add("a")
    pools.verify(entry)
    copied = [path for path in (entry.path / "weights").rglob("*") if path.is_file()]
    assert copied
    assert all(path.stat().st_nlink == 1 for path in copied)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "optimizer.pt", "state.pkl", "last.CKPT"])
def test_pickles_are_refused_by_name(pool, make_weights, name):
    with pytest.raises(PoolError, match=f"{name}.*pickle"):
        pools.add(pool, make_weights("a", **{name: "x"}), {"parent": PARENT})
    assert pools.entries(pool) == []


def test_other_files_and_folders_without_weights_are_refused(pool, make_weights, tmp_path):
    with pytest.raises(PoolError, match=r"run\.sh.*holds only"):
        pools.add(pool, make_weights("a", **{"run.sh": "x"}), {"parent": PARENT})
    (tmp_path / "empty").mkdir()
    with pytest.raises(PoolError, match="no weights"):
        pools.add(pool, tmp_path / "empty", {"parent": PARENT})
    with pytest.raises(PoolError, match="no such folder"):
        pools.add(pool, tmp_path / "absent", {"parent": PARENT})


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "facts\\['parent'\\]"),
        ({"parent": {"name": "x"}}, "facts\\['parent'\\]"),
        ({"parent": PARENT, "run": object()}, "plain JSON"),
        ({"parent": PARENT, "digest": "x"}, "may not hold digest"),
        ({"parent": PARENT, "verdict": "PASS"}, "Verdict.to_dict"),
        (
            {
                "parent": PARENT,
                "verdict": {"outcome": "PASS", "model_digest": "a"},
                "report": {"model_digest": "b"},
            },
            "the verdict is about model a, but the report is about b",
        ),
    ],
)
def test_facts_that_cannot_be_kept_are_refused(pool, make_weights, facts, said):
    with pytest.raises(PoolError, match=said):
        pools.add(pool, make_weights("a"), facts)


def test_killed_while_adding_leaves_no_entry(pool, make_weights, add, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["tunesmith.pool.entries"], "write_json", die)
    with pytest.raises(KeyboardInterrupt):
        add("a")
    assert pools.entries(pool) == []
    monkeypatch.undo()
    pools.verify(add("a"))


def test_a_half_written_folder_is_not_an_entry(pool, add):
    entry = add("a")
    (entry.path / "manifest.json").unlink()
    assert pools.entries(pool) == []
    pools.verify(add("a"))


def replace_file(path, text):
    """As an editor does it, so that the linked checkpoint stays as it is."""
    path.unlink()
    path.write_text(text)


def test_tampered_weights_are_detected_and_named(pool, add):
    entry = add("a")
    replace_file(entry.path / "weights" / "adapter_model.safetensors", "evil")
    for check in (lambda: pools.verify(entry), lambda: pools.resolve(pool, entry.digest), lambda: add("a")):
        with pytest.raises(PoolError, match=r"changed: adapter_model\.safetensors"):
            check()
    assert pools.resolve(pool, entry.digest, check=False) == entry


def test_added_and_missing_files_are_detected(pool, add):
    entry = add("a")
    (entry.path / "weights" / "extra.bin").write_text("x")
    with pytest.raises(PoolError, match=r"changed: extra\.bin"):
        pools.verify(entry)
    (entry.path / "weights" / "extra.bin").unlink()
    (entry.path / "weights" / "adapter_config.json").unlink()
    with pytest.raises(PoolError, match=r"changed: adapter_config\.json"):
        pools.verify(entry)


def test_an_entry_under_a_wrong_name_is_detected(pool, add):
    entry = add("a")
    moved = entry.path.rename(entry.path.with_name("0" * 64))
    with pytest.raises(PoolError, match="no longer what was added"):
        pools.verify(pools.entries(pool)[0])
    assert moved.exists()


def test_resolve_by_digest_prefix_and_alias(pool, add):
    entry, _ = add("a"), add("b")
    pools.promote(pool, "prod", entry.digest)
    for reference in (entry.digest, entry.digest[:6], entry.digest[:12].upper(), "prod"):
        assert pools.resolve(pool, reference) == entry


def test_what_cannot_be_resolved_says_what_there_is(pool, add):
    with pytest.raises(PoolError, match="the pool is empty"):
        pools.resolve(pool, "prod")
    entry = add("a")
    pools.promote(pool, "prod", entry.digest)
    with pytest.raises(PoolError, match=f"did you mean 'prod'.*{entry.digest[:12]}"):
        pools.resolve(pool, "prot")
    with pytest.raises(PoolError, match="too short"):
        pools.resolve(pool, entry.digest[:5])


def test_an_ambiguous_prefix_is_refused(pool, add):
    entry = add("a")
    twin = entry.path.with_name(entry.digest[:10] + "0" * 54)
    twin.mkdir()
    text = (entry.path / "manifest.json").read_text().replace(entry.digest, twin.name)
    (twin / "manifest.json").write_text(text)
    with pytest.raises(PoolError, match="beginning of 2 digests"):
        pools.resolve(pool, entry.digest[:8])


def test_a_later_verdict_counts_and_the_first_stays_on_disk(pool, add):
    entry = add("a", "INCONCLUSIVE")
    later = pools.record_verdict(pool, entry.digest, {"outcome": "PASS", "model_digest": "model-a"})
    assert later.manifest["verdict"]["outcome"] == "PASS"
    assert pools.resolve(pool, entry.digest).manifest["verdict"]["outcome"] == "PASS"
    assert read_json(entry.path / "manifest.json")["verdict"]["outcome"] == "INCONCLUSIVE"
    with pytest.raises(PoolError, match="about model someone"):
        pools.record_verdict(pool, entry.digest, {"outcome": "PASS", "model_digest": "someone"})
