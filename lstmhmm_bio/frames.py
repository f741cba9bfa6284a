"""Reading frames of given genes as codon pairs, for models of codon usage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .composition import hexamers
from .features import Record
from .io.reference import Transcript
from .sequence import reverse_complement


class GeneFrames:
    """Gives the in-frame hexamers of the genes of a record.

    Args:
        transcripts: from `read_transcripts`; pseudogenes and those on two strands take no part.
    """

    def __init__(self, transcripts: Iterable[Transcript]) -> None:
        self._of: dict[str, list[Transcript]] = defaultdict(list)
        for transcript in transcripts:
            if not transcript.pseudo and not transcript.odd:
                self._of[transcript.seqid].append(transcript)

    def __call__(self, record: Record) -> NDArray[np.int16]:
        """[length] index of the in-frame hexamer, on its own strand, that has its lowest coordinate at a position; -1
        elsewhere. Where genes overlap in the same frame or position one of them counts.
        """
        length = len(record)
        out = np.full(length, -1, np.int16)
        transcripts = self._of.get(record.id, ())
        if not transcripts:
            return out
        strands = {"+": hexamers(record.codes), "-": hexamers(reverse_complement(record.codes))[::-1]}
        for transcript in transcripts:
            phase = 0  # bases of the running codon that earlier segments hold
            forward = transcript.strand == "+"
            for start, end in transcript.segments if forward else transcript.segments[::-1]:
                if end > length:
                    break
                skip = -phase % 3
                # a word of the reverse strand begins at its highest coordinate
                at = np.arange(start + skip, end - 5, 3) if forward else np.arange(end - 1 - skip, start + 4, -3)
                out[at if forward else at - 5] = strands[transcript.strand][at]
                phase = (phase + end - start) % 3
        return out
