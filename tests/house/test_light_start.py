"""`tunesmith --help` is instant, and what needs no model runs in an installation without torch."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

HEAVY = ("torch", "transformers", "peft", "safetensors", "pyarrow")
WITHOUT = f"""
import sys
for name in {HEAVY}:
    sys.modules[name] = None  # any import of it raises ImportError
from tunesmith.cli import main
main()
"""
LOADED = """
import json, sys
from tunesmith.cli import main
try:
    main()
finally:
    print(json.dumps(sorted(name for name in sys.modules if "." not in name)), file=sys.stderr)
"""


def run(program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def write_data(path: Path) -> Path:
    record = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}
    path.write_text(json.dumps(record) + "\n")
    return path


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    done = run(LOADED, "--help", cwd=tmp_path)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert done.returncode == 0
    assert not loaded & {*HEAVY, "numpy", "pydantic", "tokenizers", "rensa"}


def test_help_is_fast(tmp_path: Path) -> None:
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "tunesmith", "--help"], cwd=tmp_path, capture_output=True, check=True)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.7


def test_show_needs_no_torch(tmp_path: Path, tiny_tokenizer_folder: Path) -> None:
    file = write_data(tmp_path / "data.jsonl")
    done = run(WITHOUT, "show", str(file), "--model", str(tiny_tokenizer_folder), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "⟦Hello.<|im_end|>⟧" in done.stdout


def test_lint_and_a_page_of_show_need_no_torch(tmp_path: Path, tiny_tokenizer_folder: Path) -> None:
    file = write_data(tmp_path / "data.jsonl")
    for command in (("lint", str(file)), ("show", str(file), "--html", "page.html")):
        done = run(WITHOUT, *command, "--model", str(tiny_tokenizer_folder), cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), command
    assert (tmp_path / "page.html").stat().st_size > 1000


def test_data_render_pack_and_pool_need_no_torch(tmp_path: Path, tiny_tokenizer_folder: Path) -> None:
    file = write_data(tmp_path / "data.jsonl")
    for arguments in (
        ("data", str(file), "--out", "data"),
        ("render", "data/conversations.jsonl", "--model", str(tiny_tokenizer_folder), "--out", "rendered"),
        ("pack", "rendered", "--out", "packed"),
        ("pool", "list"),
    ):
        done = run(WITHOUT, *arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), arguments


def test_a_missing_torch_says_what_to_install(tmp_path: Path, tiny_tokenizer_folder: Path) -> None:
    file = write_data(tmp_path / "data.jsonl")
    model = shutil.copytree(tiny_tokenizer_folder, tmp_path / "model")
    (model / "model.safetensors").touch()
    done = run(WITHOUT, "train", str(file), "--model", str(model), "--out", "trained", cwd=tmp_path)
    assert done.returncode == 1
    assert "pip install 'tunesmith[train]'" in done.stderr
    assert "Traceback" not in done.stderr
