"""Snakemake wrapper for lstmhmm annotate."""

__author__ = "The lstmhmm developers"
__license__ = "MIT"

from snakemake.shell import shell

job = snakemake  # noqa: F821
log = job.log_fmt_shell(stdout=True, stderr=True)
inputs, outputs = dict(job.input.items()), dict(job.output.items())

formats = [name for name in ("gff3", "gtf", "bed", "genbank") if name in outputs]
if len(formats) != 1:
    raise ValueError("name one output gff3, gtf, bed or genbank")
options = [f"--format {formats[0]} --output {outputs[formats[0]]}"]
options += [f"--{name} {outputs[name]}" for name in ("proteins", "cds") if name in outputs]
if "calibration" in inputs:
    options.append(f"--calibration {inputs['calibration']}")
if job.params.get("shard"):
    options.append(f"--shard {job.params.shard}")
options.append(job.params.get("extra", ""))

shell("lstmhmm annotate {inputs[fasta]} --threads {job.threads} {options} {log}")
