"""The Snakemake example really runs: on simulated genomes, with the commands of this package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command import REPOSITORY, call

EXAMPLE = REPOSITORY / "examples/snakemake"


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Where `lstmhmm` is this package, whatever else is installed."""
    pytest.importorskip("snakemake", reason="Snakemake is not installed: pip install snakemake")
    folder = tmp_path_factory.mktemp("commands")
    command = folder / "lstmhmm"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lstmhmm_bio "$@"\n')
    command.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "JAX_PLATFORMS": "cpu",
        "LSTMHMM_CACHE": str(folder / "cache"),
        "XDG_CACHE_HOME": str(folder / "xdg"),
    }


def snakemake(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "snakemake", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    logs = "".join(f"\n{p}\n{p.read_text()}" for p in folder.glob("logs/**/*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory, environment) -> Path:
    """The workflow after a run on two genomes, one of them with a reference."""
    folder = tmp_path_factory.mktemp("snakemake") / "example"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("results", "simulated", "logs", ".snakemake"))
    lines = (folder / "config/genomes.tsv").read_text().splitlines()
    (folder / "config/genomes.tsv").write_text("\n".join([lines[0], lines[1], lines[3]]) + "\n")
    config = (folder / "config/config.yaml").read_text()
    assert "{length: 60000, records: 3}" in config
    (folder / "config/config.yaml").write_text(
        config.replace("{length: 60000, records: 3}", "{length: 5000, records: 3}")
    )
    snakemake(folder, environment, "--profile", "profiles/local")
    return folder


@pytest.mark.slow
def test_the_workflow_gives_what_one_run_gives(finished, environment):
    for name, seed in (("alpha", 1), ("gamma", 3)):
        genome = finished / f"simulated/{seed}.fa"
        proteins = finished / "proteins.faa"
        whole = call(
            "annotate", genome, "--proteins", proteins, "-q", env={"LSTMHMM_CACHE": environment["LSTMHMM_CACHE"]}
        )
        assert (whole.code, whole.err) == (0, "")
        assert (finished / f"results/{name}/genes.gff3").read_text() == whole.out
        assert (finished / f"results/{name}/proteins.faa").read_text() == proteins.read_text()
        assert whole.out.count("\tgene\t") > 5
        assert not list((finished / f"results/{name}").rglob("*.resume"))
        assert not list((finished / f"results/{name}/shards").glob("*"))


@pytest.mark.slow
def test_the_summary_is_what_multiqc_reads(finished):
    lines = (finished / "results/lstmhmm_mqc.tsv").read_text().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    assert '# plot_type: "table"' in comments
    table = [line.split("\t") for line in lines[len(comments) :]]
    assert [row[0] for row in table] == ["Sample", "alpha", "gamma"]
    assert {len(row) for row in table} == {len(table[0])}
    alpha, gamma = (dict(zip(table[0], row, strict=True)) for row in table[1:])
    genes = (finished / "results/alpha/genes.gff3").read_text()
    assert int(alpha["genes"]) == genes.count("\tgene\t")
    assert int(alpha["partial"]) == sum("\tgene\t" in line and "partial=true" in line for line in genes.splitlines())
    assert 75 < float(alpha["density"]) <= 100
    scores = json.loads((finished / "results/alpha/evaluation.json").read_text())["scores"]
    assert float(alpha["stop_f1"]) == pytest.approx(100 * scores["stop"]["f1"], abs=0.01)
    assert gamma["stop_f1"] == ""
    assert not (finished / "results/gamma/evaluation.json").exists()


@pytest.mark.slow
def test_a_second_run_has_nothing_to_do(finished, environment):
    assert "Nothing to be done" in snakemake(finished, environment, "--profile", "profiles/local")


@pytest.mark.slow
def test_the_wrapper(tmp_path, environment):
    shutil.copytree(EXAMPLE / "wrapper/lstmhmm/annotate", tmp_path / "master/bio/lstmhmm/annotate")
    shutil.copytree(EXAMPLE / "wrapper/lstmhmm/annotate/test", tmp_path / "work")
    calibrated = call(
        "calibrate", tmp_path / "work/genome.fasta", "-o", tmp_path / "work/genome.cal", "-q", env=environment
    )
    assert calibrated.code == 0
    prefix = f"file://{tmp_path}/"
    snakemake(
        tmp_path / "work", environment, "--cores", "1", "--wrapper-prefix", prefix, "genome.gff3", "genome.1.bed.gz"
    )
    names = {path.name for path in (tmp_path / "work").iterdir()}
    assert {"genome.gff3", "genome.faa", "genome.1.bed.gz"} <= names
    assert (tmp_path / "work/genome.gff3").read_text().count("\tgene\t") > 2
