"""Install torch with pip, and never several gigabytes of CUDA on a machine that has no GPU.

    python scripts/install_torch.py torch==2.13.0 [INDEX_URL]

Before anything is downloaded, pip is asked what it would install. If that holds NVIDIA packages and this machine has
no NVIDIA GPU, it stops and says how to get the CPU build.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def main(requirement: str, index: str) -> None:
    options = ["--quiet", "--disable-pip-version-check"] + (["--index-url", index] if index else [])
    if shutil.which("nvidia-smi") is None and sys.platform == "linux":
        heavy = [name for name in planned(requirement, options) if name.startswith(("nvidia-", "cuda-"))]
        if heavy:
            sys.exit(
                f"{requirement} would bring {len(heavy)} CUDA packages ({', '.join(heavy[:3])}, ...), several "
                "gigabytes, but this machine has no NVIDIA GPU.\nTake the CPU build: make TORCH_INDEX=URL, where URL "
                "is the address of PyTorch's CPU index (PyTorch's installation page shows it for Pip and CPU)."
            )
    subprocess.run([sys.executable, "-m", "pip", "install", *options, requirement], check=True)


def planned(requirement: str, options: list[str]) -> list[str]:
    """The names of the packages that pip would install."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = ["install", "--dry-run", "--report", str(report), *options, requirement]
        subprocess.run([sys.executable, "-m", "pip", *command], check=True)
        return [each["metadata"]["name"].lower() for each in json.loads(report.read_text())["install"]]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
