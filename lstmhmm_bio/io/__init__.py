"""Files in and out: sequences of any common format to records, annotations to the formats people use.

`WRITERS` names the feature formats. All have one shape::

    writer = WRITERS["gff3"](handle, provenance="lstmhmm 0.1.0 model=bacteria")
    writer.write(annotation)  # once per record
"""

from __future__ import annotations

from .bed import BedWriter
from .bigwig import BigwigWriter, write_bigwig
from .derived import gene_ids
from .fasta import write_cds_fasta, write_protein_fasta
from .genbank import GenbankWriter
from .gff3 import Gff3Writer
from .gtf import GtfWriter
from .output import OutputSet, ensure_distinct, open_output
from .sequences import read_records

Writer = Gff3Writer | GtfWriter | BedWriter | GenbankWriter

WRITERS: dict[str, type[Writer]] = {"gff3": Gff3Writer, "gtf": GtfWriter, "bed": BedWriter, "genbank": GenbankWriter}

__all__ = [
    "WRITERS",
    "BedWriter",
    "BigwigWriter",
    "GenbankWriter",
    "Gff3Writer",
    "GtfWriter",
    "OutputSet",
    "Writer",
    "ensure_distinct",
    "gene_ids",
    "open_output",
    "read_records",
    "write_bigwig",
    "write_cds_fasta",
    "write_protein_fasta",
]
