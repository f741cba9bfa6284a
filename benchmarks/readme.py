"""Runs the commands of README.md and puts their real output below them.

    python benchmarks/readme.py

A command is a line that begins with "$ " in a block that begins with ```console; they run one after the other, in one
folder that holds a copy of the example genome. What they write (stderr too) replaces what stood there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pages import README, ROOT


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("genome.fa", "truth.gff3"):
            shutil.copy(ROOT / "examples" / name, folder)

        def fresh(block: re.Match[str]) -> str:
            commands = [line[2:] for line in block[1].splitlines() if line.startswith("$ ")]
            return "```console\n" + "".join(f"$ {c}\n{output_of(c, Path(folder))}" for c in commands) + "```\n"

        text = re.sub(r"```console\n(.*?)```\n", fresh, README.read_text("utf-8"), flags=re.DOTALL)
    README.write_text(text, "utf-8")


def output_of(command: str, folder: Path) -> str:
    beside = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # this Python's lstmhmm
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=beside,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if "Traceback" in done.stdout or "command not found" in done.stdout:
        raise SystemExit(f"{command}\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    main()
