"""BAM, CRAM and SAM files, through pysam: opened for all that read them, and as reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import InputError
from ..features import Record
from .letters import encode_checked
from .regions import no_such_record, span_in

#: bits of SAM flags that rule an alignment out: unmapped, secondary, failed quality checks, duplicate
UNFIT = 0x4 | 0x100 | 0x200 | 0x400
#: CIGAR operations: aligned bases, introns, all that move on along the reference
ALIGNED, SKIPPED, ON_REFERENCE = frozenset((0, 7, 8)), 3, frozenset((0, 2, 3, 7, 8))


@contextmanager
def open_alignments(
    path: str, *, reference: str | None = None, aligned: bool = True, failure: str = "the alignments cannot be read"
) -> Iterator[Any]:
    """An alignment file as pysam opens it, whose errors become ours, now and while it is read.

    Args:
        path: a file (no pipe).
        reference: the reference FASTA a CRAM file was compressed against.
        aligned: the file must name reference sequences.
        failure: what the message says of a file that cannot be read.

    Raises:
        InputError: the file is damaged or none of these, has no reference sequences, or its reference cannot be found.
    """
    import pysam

    verbosity = pysam.set_verbosity(0)  # htslib's own lines on stderr: the errors below say it
    try:
        with pysam.AlignmentFile(path, check_sq=False, reference_filename=reference) as file:
            if aligned and not file.references:
                raise InputError(f"{path} names no reference sequences: these reads are not aligned; align them first")
            yield file
    except NotImplementedError as error:  # from htslib's bgzip reader
        raise InputError(
            f"{path}: compressed with gzip, BAM needs bgzip; write it again with: samtools view -b"
        ) from error
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        remedy = "copy it again, or for CRAM give the genome it was made with as --reference"
        raise InputError(f"{path}: {failure} ({reason}); {remedy}") from error
    finally:
        pysam.set_verbosity(verbosity)


def spans(read: Any, lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """The pieces of an alignment: CIGAR operation, and where it lies on the reference, 0-based half-open.

    Args:
        read: of an alignment file.
        lengths: of the file's reference sequences.

    Raises:
        ValueError: it begins before its reference sequence or ends beyond it; an error of `open_alignments`, within it.
    """
    end, last = read.reference_start, lengths[read.reference_id]
    for operation, length in read.cigartuples or ():
        start, end = end, end + length if operation in ON_REFERENCE else end
        if start < 0 or end > last:
            raise ValueError(f"read {read.query_name} lies beyond the ends of {read.reference_name}")
        yield operation, start, end


def read_alignments(path: str, *, region: str | None = None, reference: str | None = None) -> Iterator[Record]:
    """Every read once, as it came from the sequencer; mates are told apart by /1 and /2.

    Secondary and supplementary records are left out; reads aligned to the reverse strand are turned back.

    Args:
        path: a file (no pipe).
        region: only reads that overlap it; needs an index.
        reference: the reference FASTA a CRAM file was compressed against.

    Raises:
        InputError: a damaged file, no index, or a reference that cannot be found.
        UsageError: the region is not on a reference sequence of the file.
    """
    with open_alignments(path, reference=reference, aligned=False) as file:
        empty = True
        for read in _reads(file, path, region):
            if read.is_secondary or read.is_supplementary:
                continue
            empty = False
            name = _read_name(read)
            sequence = (read.get_forward_sequence() or "").encode()
            yield Record(name, encode_checked(sequence, source=path, record=name))
        if empty and region is None:
            raise InputError(f"{path} holds no records; give a file with reads")


def _reads(file: Any, path: str, region: str | None) -> Iterator[Any]:
    if region is None:
        return file.fetch(until_eof=True)
    for name, length in zip(file.references, file.lengths, strict=True):
        span = span_in(region, name, length)
        if span is not None:
            if not file.has_index():
                raise InputError(f"{path}: a region needs an index; make one with: samtools index {path}")
            return file.fetch(name, *span)
    raise no_such_record(region, path)


def _read_name(read: Any) -> str:
    name = read.query_name or ""
    mate = "/1" if read.is_read1 else "/2" if read.is_read2 else ""
    return name if name.endswith(mate) else name + mate
