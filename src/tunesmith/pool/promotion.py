"""From a reference to an entry, and from an entry to an alias: nothing is promoted without a verdict."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.errors import PoolError
from tunesmith.pool.aliases import aliases, append_move, history, moves, way_back
from tunesmith.pool.entries import VERDICTS, check_facts, entries, entries_folder, read_entry, verify
from tunesmith.pool.journal import append_line, locked, now
from tunesmith.types import Entry

SHORTEST_PREFIX = 6


def resolve(pool: Path, reference: str, *, check: bool = True) -> Entry:
    """The entry that an alias, a digest or a unique prefix of six or more digits names, verified for use.

    `check=False` skips the hashing, for lists and other looks. Raises PoolError when nothing or more than one
    entry is named.
    """
    pointers = aliases(pool)
    wanted = pointers.get(reference, reference).lower()
    digests = [entry.digest for entry in entries(pool)]
    is_prefix = len(wanted) >= SHORTEST_PREFIX
    found = [digest for digest in digests if digest == wanted or (is_prefix and digest.startswith(wanted))]
    if len(found) != 1:
        raise PoolError(_unresolved(pool, reference, found, digests, pointers))
    entry = read_entry(entries_folder(pool) / found[0])
    if check:
        verify(entry)
    return entry


def promote(pool: Path, alias: str, reference: str, *, force: bool = False, why: str | None = None) -> dict[str, Any]:
    """Point `alias` to an entry whose gate verdict is PASS; returns the new line of its history.

    `force` with a reason in `why` overrides the verdict and stays on record. Raises PoolError otherwise.
    """
    moves(pool, alias)
    entry = resolve(pool, reference)
    if force and not (why and why.strip()):
        raise PoolError('a forced promotion needs its reason on record: --force --why "..."')
    if not force:
        _check_verdict(entry, alias)
    with locked(pool):
        stack = way_back(moves(pool, alias))
        return append_move(pool, alias, entry, stack[-1] if stack else None, "promote", why)


def rollback(pool: Path, alias: str, *, why: str | None = None) -> dict[str, Any]:
    """Point `alias` to the entry it pointed to before; returns the new line of its history.

    Each rollback goes one promotion further back; a promotion after it starts anew from there.
    """
    current = history(pool, alias)[-1]["digest"]
    with locked(pool):
        stack = way_back(moves(pool, alias))
        if len(stack) < 2:
            raise PoolError(
                f"alias {alias!r} points to {current[:12]}, and there is nothing before it to go back to; "
                f"point it elsewhere with: tunesmith pool promote {alias} REF"
            )
        entry = resolve(pool, stack[-2])
        return append_move(pool, alias, entry, stack[-1], "rollback", why)


def record_verdict(
    pool: Path, reference: str, verdict: Mapping[str, Any], report: Mapping[str, Any] | None = None
) -> Entry:
    """Append a later verdict (with its report) on the same weights, such as one on more items; it counts.

    Earlier verdicts stay in `verdicts.jsonl` and in the manifest on disk.
    """
    entry = resolve(pool, reference)
    line = check_facts({"parent": entry.manifest["parent"], "verdict": verdict, "report": report})
    known = (entry.manifest.get("verdict") or {}).get("model_digest")
    if known not in (None, verdict.get("model_digest")):
        raise PoolError(
            f"{entry.digest[:12]}: the verdict is about model {verdict.get('model_digest')}, but this entry "
            f"was judged as {known}; add that model to the pool as its own entry"
        )
    with locked(pool):
        kept = {"time": now(), "verdict": line["verdict"], "report": line["report"]}
        append_line(entry.path / VERDICTS, kept)
    return read_entry(entry.path)


def _check_verdict(entry: Entry, alias: str) -> None:
    verdict = entry.manifest["verdict"]
    if verdict is not None and verdict["outcome"] == "PASS":
        return
    if verdict is None:
        missing = "no gate has judged it; run tunesmith gate first"
    else:
        missing = f"its verdict is {verdict['outcome']}, not PASS. " + " ".join(_reasons(verdict))
    raise PoolError(
        f"{entry.digest[:12]} cannot be promoted: {missing.strip()}\nTo promote it all the same: "
        f'tunesmith pool promote {alias} {entry.digest[:12]} --force --why "..."'
    )


def _reasons(verdict: Mapping[str, Any]) -> list[str]:
    """What keeps a verdict from PASS: an alarm does so only when it is raised."""
    rows = [row for row in verdict.get("findings", ()) if row["outcome"] != "PASS"]
    return [row["explanation"] for row in rows if row["outcome"] == "FAIL" or row.get("question") != "alarm"]


def _unresolved(pool: Path, reference: str, found: list[str], digests: list[str], pointers: Mapping[str, str]) -> str:
    if found:
        return f"{reference!r} is the beginning of {len(found)} digests ({_short(found)}); give more digits"
    if not digests:
        return f"{pool}: the pool is empty, so there is no {reference!r}; add a run to it first"
    if reference in pointers:
        return f"alias {reference!r} points to {pointers[reference]}, which is not in {pool}; roll it back"
    if len(reference) < SHORTEST_PREFIX and any(digest.startswith(reference) for digest in digests):
        return f"{reference!r} is too short: give {SHORTEST_PREFIX} digits or more of a digest"
    nearest = difflib.get_close_matches(reference, pointers, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    listed = f"Aliases: {', '.join(sorted(pointers)) or 'none'}; digests: {_short(digests)}"
    return f"{pool}: no alias or digest {reference!r}; {hint}{listed}"


def _short(digests: list[str]) -> str:
    more = f" and {len(digests) - 5} more" if len(digests) > 5 else ""
    return ", ".join(digest[:12] for digest in digests[-5:]) + more
