#!/usr/bin/env bash
# Build the wheel, and use it as someone would who has no clone: the core without torch, then the example.
set -euo pipefail
cd "$(dirname "$0")/.."
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
pip="$place/env/bin/python -m pip install --quiet --disable-pip-version-check"

.venv/bin/python -m build --wheel --outdir "$place/dist" >/dev/null
wheel=$(ls "$place"/dist/*.whl)
python3 -m venv "$place/env"

$pip "$wheel"
echo "core installed: $(du -sm "$place/env" | cut -f1) MB"
cp examples/cron/train.jsonl "$place"
cd "$place"
env/bin/tunesmith --help >/dev/null
env/bin/tunesmith data train.jsonl --out data
env/bin/tunesmith show train.jsonl --limit 1
env/bin/tunesmith pool list
if env/bin/python -c "import torch" 2>/dev/null; then echo "the core must not bring torch"; exit 1; fi

# torch first, so that the CPU build is taken; then the extra finds it installed
$pip "${TORCH:-torch==2.13.0}"
$pip "$wheel[train]"
env/bin/tunesmith quickstart --set train.max_steps=20 \
    --set 'evaluate.tasks=[{name="cron", path="tunesmith-cron/golden.jsonl", scorer="tunesmith-cron/scorer.py:score", max_tokens=24, max_items=64}]' \
    --set 'gate.improve={cron=0.0}' --set 'gate.keep={}'
test -f runs/cron/gate/verdict.json
env/bin/tunesmith pool list
