"""Reference annotation in: protein-coding transcripts of GFF3, GTF (GFF2) and GenBank files.

The format is told from the content, compression from the magic bytes. Only coding sequence (CDS) makes a transcript;
what the file says about its doubtful genes (pseudogenes, partial, recoded, trans-spliced ones) is kept as flags:
evaluation sets those genes aside and training masks them. Sources of the formats: the GFF3 specification 1.26 (Sequence
Ontology), the GTF2.2 specification (Brent lab), the INSDC feature table definition.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from io import TextIOWrapper
from os import PathLike, fspath

from ..errors import InputError
from .compression import input_name, open_input
from .reference_genbank import read_genbank
from .reference_table import read_table
from .transcripts import OtherFeature, Reference, Transcript

__all__ = ["Reference", "Transcript", "common_code", "read_other_features", "read_reference", "read_transcripts"]


def read_reference(path: str | PathLike[str], *, allow_empty: bool = False) -> Reference:
    """Read an annotation file, once and front to back, so that pipes work.

    Args:
        path: GFF3, GTF or GenBank, plain or compressed.
        allow_empty: a file without any CDS is fine (a prediction may be empty, a reference may not).

    Raises:
        InputError: the file is broken (named with its line), or holds no CDS.
    """
    name = input_name(fspath(path))
    with open_input(fspath(path)) as stream:
        is_genbank = re.search(rb"^LOCUS ", stream.peek(), re.MULTILINE)
        # product names come in all encodings, and no field that counts here is ever beyond ASCII
        handle = TextIOWrapper(stream, encoding="utf-8-sig", errors="replace")
        reference = read_genbank(handle, name) if is_genbank else read_table(handle, name)
    if not reference.transcripts and not allow_empty:
        raise InputError(f"{name}: holds no CDS; give an annotation of protein-coding genes (GFF3, GTF or GenBank)")
    return reference


def read_transcripts(path: str | PathLike[str]) -> list[Transcript]:
    """The coding transcripts of an annotation file, see `read_reference`."""
    return read_reference(path).transcripts


def common_code(transcripts: Iterable[Transcript]) -> int | None:
    """The genetic code that most of the transcripts name, None if none does."""
    numbers = Counter(t.genetic_code for t in transcripts if t.genetic_code)
    return numbers.most_common(1)[0][0] if numbers else None


def read_other_features(path: str | PathLike[str]) -> list[OtherFeature]:
    """The non-coding RNA features of an annotation file, see `read_reference`."""
    return read_reference(path, allow_empty=True).other_features
