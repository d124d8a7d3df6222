"""Aliases: promotion needs a verdict, every move is on record, and the way back is right."""

import itertools
import json
import multiprocessing

import pytest

from tunesmith import pool as pools
from tunesmith.errors import PoolError


def test_promotion_needs_a_pass(pool, add):
    for outcome, said in [
        ("FAIL", "FAIL, not PASS"),
        ("INCONCLUSIVE", "not PASS"),
        (None, "no gate has judged"),
    ]:
        entry = add(f"w-{outcome}", outcome)
        with pytest.raises(PoolError, match=said) as raised:
            pools.promote(pool, "prod", entry.digest)
        assert f'pool promote prod {entry.digest[:12]} --force --why "..."' in str(raised.value)
    assert pools.aliases(pool) == {}


def test_a_forced_promotion_needs_a_reason_and_stays_on_record(pool, add):
    entry = add("a", "FAIL")
    for why in (None, " "):
        with pytest.raises(PoolError, match="--why"):
            pools.promote(pool, "prod", entry.digest, force=True, why=why)
    line = pools.promote(pool, "prod", entry.digest, force=True, why="the set is wrong")
    assert (line["outcome"], line["why"], line["previous"]) == ("FAIL", "the set is wrong", None)
    assert pools.aliases(pool) == {"prod": entry.digest}


def test_repeated_rollbacks_walk_back_and_a_promotion_starts_anew(pool, add):
    a, b, c, d = (add(name).digest for name in "abcd")
    for digest in (a, b, c):
        pools.promote(pool, "prod", digest)
    assert pools.rollback(pool, "prod", why="slow")["digest"] == b
    assert pools.rollback(pool, "prod")["digest"] == a
    with pytest.raises(PoolError, match="nothing before it"):
        pools.rollback(pool, "prod")
    pools.promote(pool, "prod", d)
    assert pools.rollback(pool, "prod")["digest"] == a
    moves = pools.history(pool, "prod")
    assert [(move["action"], move["digest"], move["previous"]) for move in moves] == [
        ("promote", a, None),
        ("promote", b, a),
        ("promote", c, b),
        ("rollback", b, c),
        ("rollback", a, b),
        ("promote", d, a),
        ("rollback", a, d),
    ]
    assert moves[3]["why"] == "slow"
    assert [move["time"] for move in moves] == sorted(move["time"] for move in moves)


def test_promoting_the_current_entry_again_is_no_step_back(pool, add):
    a, b = add("a").digest, add("b").digest
    for digest in (a, b, b):
        pools.promote(pool, "prod", digest)
    assert pools.rollback(pool, "prod")["digest"] == a


def test_tampered_weights_are_neither_promoted_nor_rolled_back_to(pool, add):
    a, b = add("a"), add("b")
    pools.promote(pool, "prod", a.digest)
    pools.promote(pool, "prod", b.digest)
    (a.path / "weights" / "extra.txt").write_text("x")
    with pytest.raises(PoolError, match=r"extra.txt"):
        pools.rollback(pool, "prod")
    with pytest.raises(PoolError, match=r"extra.txt"):
        pools.promote(pool, "prod", a.digest)
    assert pools.aliases(pool) == {"prod": b.digest}


@pytest.mark.parametrize("name", ["../prod", "a/b", "", ".hidden", "pröd", "a b", "x" * 65, "deadbeef", "123456"])
def test_bad_alias_names_are_refused(pool, add, name):
    entry = add("a")
    for call in (lambda: pools.promote(pool, name, entry.digest), lambda: pools.history(pool, name)):
        with pytest.raises(PoolError, match="cannot be an alias"):
            call()


def test_good_alias_names(pool, add):
    entry = add("a")
    for name in ("prod", "cron-v1.2_b", "v1.jsonl", "1"):
        pools.promote(pool, name, entry.digest)
    assert set(pools.aliases(pool)) == {"prod", "cron-v1.2_b", "v1.jsonl", "1"}


def test_an_unknown_alias_names_the_nearest(pool, add):
    pools.promote(pool, "prod", add("a").digest)
    for call in (pools.history, pools.rollback):
        with pytest.raises(PoolError, match="did you mean 'prod'"):
            call(pool, "prodd")


@pytest.mark.parametrize("kept", [1, 30, -1])
def test_a_torn_last_line_is_ignored_and_the_next_append_removes_it(pool, add, kept):
    a, b = add("a").digest, add("b").digest
    pools.promote(pool, "prod", a)
    file = pool / "aliases" / "prod.jsonl"
    whole = file.read_bytes()
    pools.promote(pool, "prod", b)
    torn = file.read_bytes()[len(whole) :][:kept]
    file.write_bytes(whole + torn)
    assert pools.aliases(pool) == {"prod": a}
    assert len(pools.history(pool, "prod")) == 1
    pools.promote(pool, "prod", b)
    assert [json.loads(line)["digest"] for line in file.read_text().splitlines()] == [a, b]


def test_a_first_line_torn_is_no_alias(pool, add):
    add("a")
    (pool / "aliases").mkdir()
    (pool / "aliases" / "prod.jsonl").write_text('{"time": "20')
    assert pools.aliases(pool) == {}


def test_a_broken_line_in_the_middle_is_an_error_with_its_place(pool, add):
    pools.promote(pool, "prod", add("a").digest)
    file = pool / "aliases" / "prod.jsonl"
    file.write_text("oops\n" + file.read_text())
    with pytest.raises(PoolError, match=r"prod\.jsonl:1"):
        pools.aliases(pool)


def promote_often(pool, digest, times):
    for _ in range(times):
        pools.promote(pool, "prod", digest)


def test_two_processes_promote_at_once_and_no_line_is_lost_or_torn(pool, add):
    digests = [add("a").digest, add("b").digest]
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=promote_often, args=(pool, digest, 20)) for digest in digests]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    moves = pools.history(pool, "prod")
    assert sorted(move["digest"] for move in moves) == sorted(digests * 20)
    for before, move in itertools.pairwise(moves):
        assert move["previous"] == before["digest"]
