"""Entries: weights that are named by their content, with what is known about them."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.errors import DataError, PoolError
from tunesmith.files import (
    MANIFEST,
    atomic_folder,
    canonical_json,
    file_digest,
    folder_digest,
    read_json,
    to_plain,
    write_json,
)
from tunesmith.pool.journal import locked, now, read_lines
from tunesmith.types import Entry

WEIGHTS = "weights"
VERDICTS = "verdicts.jsonl"
ACCEPTED = (".safetensors", ".gguf", ".json", ".txt", ".jinja", ".md")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
FACTS = ("method", "parent", "lineage", "recipe", "data_fingerprint", "shared_system", "run", "verdict", "report")
DIGEST = re.compile(r"[0-9a-f]{64}")


def add(pool: Path, weights: Path, facts: Mapping[str, Any]) -> Entry:
    """Put the files of `weights` into the pool and return their entry.

    `facts` says where they came from: `parent` ({"name", "digest"} of the base model) is needed, the other
    keys of FACTS may be None or absent. The digest covers the weights and the parent's digest; a
    manifest.json on the top level of `weights` belongs to the run and stays behind. The same content again
    gives the entry that is there, with its first facts; use `record_verdict` for a later verdict.
    """
    kept = check_facts(facts)
    _check_files(weights)
    content = folder_digest(weights)
    digest = _entry_digest(content, kept["parent"]["digest"])
    path = entries_folder(pool) / digest
    with locked(pool):
        if (path / MANIFEST).exists():
            entry = read_entry(path)
            verify(entry)
            return entry
        with atomic_folder(path) as folder:
            _copy(weights, folder / WEIGHTS)
            if folder_digest(folder / WEIGHTS) != content:
                raise PoolError(f"{weights}: the files changed while they were copied; add them again at rest")
            manifest = {"digest": digest, "added": now(), "files": _contents(folder / WEIGHTS), **kept}
            write_json(folder / MANIFEST, manifest)
    return read_entry(path)


def entries(pool: Path) -> list[Entry]:
    """All entries, oldest first; none when there is no such folder."""
    folder = entries_folder(pool)
    paths = [path for path in folder.glob("*") if DIGEST.fullmatch(path.name) and (path / MANIFEST).exists()]
    return sorted((read_entry(path) for path in paths), key=lambda entry: (entry.manifest["added"], entry.digest))


def verify(entry: Entry) -> None:
    """Hash the weights again; raises PoolError, naming the files, when they are no longer what was added."""
    parent = entry.manifest["parent"]["digest"]
    weights = entry.path / WEIGHTS
    seen = _entry_digest(folder_digest(weights), parent) if weights.is_dir() else "no weights"
    if seen == entry.digest == entry.path.name:
        return
    listed, present = entry.manifest["files"], _contents(weights)
    changed = sorted(name for name in {*listed, *present} if listed.get(name) != present.get(name))
    raise PoolError(
        f"{entry.path}: the content is no longer what was added (changed: {', '.join(changed) or MANIFEST}). "
        "Nothing is served from it; remove this folder and add the weights again from their run or a backup"
    )


def entries_folder(pool: Path) -> Path:
    """Where the entries stand."""
    return pool / "entries"


def read_entry(path: Path) -> Entry:
    """An entry with its current verdict: the last one recorded, else that of the manifest."""
    try:
        manifest = read_json(path / MANIFEST)
    except DataError as error:
        raise PoolError(str(error)) from None
    for line in read_lines(path / VERDICTS)[-1:]:
        manifest |= {"verdict": line["verdict"], "report": line["report"]}
    return Entry(manifest["digest"], path, manifest)


def check_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts as plain JSON with every key of FACTS; raises PoolError when they cannot be kept."""
    plain: dict[str, Any] = {**dict.fromkeys(FACTS), **to_plain(dict(facts))}
    try:
        json.dumps(plain)
    except TypeError as error:
        raise PoolError(f"the facts of a pool entry must be plain JSON ({error})") from None
    parent = plain["parent"]
    if not isinstance(parent, dict) or not all(isinstance(parent.get(key), str) for key in ("name", "digest")):
        raise PoolError(f"facts['parent'] must be {{'name': ..., 'digest': ...}} of the base model, not {parent!r}")
    clash = {"digest", "added", "files"} & set(plain)
    if clash:
        raise PoolError(f"the facts may not hold {', '.join(sorted(clash))}: the pool writes these itself")
    _check_evidence(plain["verdict"], plain["report"])
    return plain


def _check_evidence(verdict: Any, report: Any) -> None:
    if verdict is not None and (not isinstance(verdict, dict) or "outcome" not in verdict):
        raise PoolError("facts['verdict'] must be Verdict.to_dict() of a gate, or None")
    if verdict is None or report is None:
        return
    judged, evaluated = verdict.get("model_digest"), report.get("model_digest")
    if judged != evaluated:
        raise PoolError(f"the verdict is about model {judged}, but the report is about {evaluated}; run the gate again")


def _check_files(weights: Path) -> None:
    if not weights.is_dir():
        raise PoolError(f"{weights}: no such folder; give the folder that holds the checkpoint's files")
    names = [path.relative_to(weights).as_posix() for path in _files(weights)]
    for name in names:
        suffix = Path(name).suffix.lower()
        if suffix in PICKLES:
            raise PoolError(
                f"{weights / name}: a pickle can run code when it is loaded, so the pool refuses it; "
                "save the weights as safetensors"
            )
        if suffix not in ACCEPTED:
            raise PoolError(f"{weights / name}: the pool holds only {', '.join(ACCEPTED)} files; remove this one")
    if not any(name.lower().endswith((".safetensors", ".gguf")) for name in names):
        raise PoolError(f"{weights}: no .safetensors or .gguf file in it, so there are no weights to add")


def _files(weights: Path) -> list[Path]:
    """The files that belong to the content: the same ones that `folder_digest` hashes."""
    return sorted(path for path in weights.rglob("*") if path.is_file() and path != weights / MANIFEST)


def _contents(weights: Path) -> dict[str, str]:
    return {path.relative_to(weights).as_posix(): file_digest(path) for path in _files(weights)}


def _copy(weights: Path, target: Path) -> None:
    """Hard links where the file system allows them: a second copy of gigabytes helps nobody."""
    for path in _files(weights):
        copy = target / path.relative_to(weights)
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path.resolve(), copy)
        except OSError:
            shutil.copyfile(path, copy)


def _entry_digest(content: str, parent: str) -> str:
    return hashlib.sha256(canonical_json({"weights": content, "parent": parent}).encode()).hexdigest()
