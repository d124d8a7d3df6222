"""The layer rule: a stage imports the ground and the organs, never another stage."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "tunesmith"

GROUND = {"types", "branches", "errors", "files", "config", "messages", "progress", "stats", "plot"}
ORGANS = {"text", "verify", "model", "generate", "render", "pool"}
STAGES = {"data", "mix", "render", "pack", "train", "evaluate", "gate", "pool"}
ABOVE = {
    "phases",
    "recipe",
    "chain",
    "report",
    "tasks",
    "preparation",
    "probing",
    "pipeline",
    "doors",
    "cli",
    "__main__",
}


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a file imports, wherever the import stands; `if TYPE_CHECKING` blocks name types only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    rooms = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tunesmith"):
            parts = (node.module or "").split(".")
            rooms |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            rooms |= {name.name.split(".")[1] for name in node.names if name.name.startswith("tunesmith.")}
    return rooms - {"__version__"}


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_room_may(path):
    room = room_of(path)
    imported = imported_rooms(path) - {room}
    if room in GROUND:
        assert imported <= GROUND
    elif room in ORGANS | STAGES:
        assert imported <= GROUND | ORGANS
    elif room in {"phases", "report"}:
        assert imported <= GROUND | ORGANS | STAGES
    elif room == "recipe":
        assert imported <= GROUND | ORGANS | STAGES | {"phases"}
    elif room in {"chain", "tasks", "preparation", "probing", "doors"}:
        assert imported <= GROUND | ORGANS | STAGES | {"phases", "recipe"}
    elif room == "pipeline":
        assert imported <= GROUND | ORGANS | STAGES | {
            "phases",
            "recipe",
            "chain",
            "tasks",
            "preparation",
            "probing",
            "report",
        }
    else:
        assert room in ABOVE | {"__init__"}


def test_every_room_has_a_place_in_the_rule():
    rooms = {room_of(path) for path in SOURCES} - {"__init__"}
    assert rooms == GROUND | ORGANS | STAGES | ABOVE


def test_torch_is_imported_only_by_the_siblings_that_work_with_it():
    allowed = {"train", "generate", "model"}
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tops = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {alias.name.split(".")[0] for node in tops if isinstance(node, ast.Import) for alias in node.names}
        names |= {(node.module or "").split(".")[0] for node in tops if isinstance(node, ast.ImportFrom)}
        if names & {"torch", "transformers", "peft", "safetensors"}:
            assert room_of(path) in allowed, path
            assert path.name != "__init__.py", path
