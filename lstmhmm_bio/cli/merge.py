"""`lstmhmm merge`: the outputs of parts as the output of the whole."""

from __future__ import annotations

import click


@click.command("merge")
@click.argument("parts", nargs=-1, required=True)
@click.option("-o", "--output", metavar="FILE", help="Where to write; '-' or nothing is standard output.")
@click.option(
    "--genome",
    metavar="FASTA",
    help="Put the records in the order of this genome, and see that none is missing. Not needed for shards.",
)
def merge(parts: tuple[str, ...], output: str | None, genome: str | None) -> None:
    """Join PARTS, outputs of `annotate` over parts of one genome, into what one run over all of it writes.

    PARTS are files of one format: GFF3, GTF, BED, GenBank, or FASTA of proteins or coding sequences. Shards are put in
    their order whatever the order given, and must all be there; FASTA and GenBank, which have no place for a shard's
    number, are joined in the order given unless --genome tells a better one.

    \b
    lstmhmm merge shard_*.gff3 -o genes.gff3
    """  # noqa: D301  (the escape is Click's: no re-wrapping)
    from ..io import ensure_distinct, open_output
    from ..io.merge import merge as merge_parts

    ensure_distinct([*parts, *([genome] if genome else [])], [output])
    with open_output(output) as handle:
        merge_parts(parts, handle, genome=genome)
