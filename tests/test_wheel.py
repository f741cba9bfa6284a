"""The built package works on its own, away from the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from command import REPOSITORY, fasta

from lstmhmm_bio.simulate import simulate_genome

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from a copy of what belongs to the package, offline where it can be."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (REPOSITORY / name).is_file():
            shutil.copy(REPOSITORY / name, source)
    shutil.copytree(REPOSITORY / "lstmhmm_bio", source / "lstmhmm_bio", ignore=shutil.ignore_patterns("__pycache__"))
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--retries",
        "1",
        "--timeout",
        "15",
        "-w",
        folder,
        source,
    ]
    if int(version("setuptools").split(".")[0]) >= 77:  # as pyproject.toml wants it; else pip fetches one
        build += ["--no-build-isolation", "--no-index"]
    done = subprocess.run(build, capture_output=True, text=True)
    if re.search("No module named pip|Could not find a version|No module named 'wheel'", done.stdout + done.stderr):
        pytest.skip("no setuptools >= 77 here, nor a package index to get one from")
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(n for n in names if n.endswith(".dist-info/METADATA"))).decode()
        entry_points = archive.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    modules = {str(p.relative_to(REPOSITORY)) for p in (REPOSITORY / "lstmhmm_bio").rglob("*.py")}
    assert modules <= set(names)
    for name in ("py.typed", "models/bacteria.toml", "models/bacteria.safetensors", "profiles/residues.safetensors"):
        assert f"lstmhmm_bio/{name}" in names
    assert {n.split("/")[0] for n in names if ".dist-info/" not in n} == {"lstmhmm_bio"}
    assert not any(n.endswith(".pyc") for n in names)
    assert "Name: lstmhmm-bio\n" in metadata
    assert "lstmhmm = lstmhmm_bio.cli:main" in entry_points


def test_annotates_from_elsewhere(wheel, tmp_path):
    target, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run(install, capture_output=True, check=True)
    (elsewhere / "g.fa").write_text(fasta(simulate_genome(1500, seed=3)[0]))
    environment = {**os.environ, "PYTHONPATH": str(target), "JAX_PLATFORMS": "cpu"}
    where = [sys.executable, "-c", "import lstmhmm_bio; print(lstmhmm_bio.__file__)"]
    found = subprocess.run(where, cwd=elsewhere, env=environment, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(target)
    command = [sys.executable, "-m", "lstmhmm_bio", "annotate", "g.fa", "--meta", "--no-cache"]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "\tCDS\t" in done.stdout
    assert [p.name for p in elsewhere.iterdir()] == ["g.fa"]
