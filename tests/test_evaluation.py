"""Evaluation: each definition on small cases by hand, and every figure against an independent implementation."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from lstmhmm_bio.agreement import Coverage, Score
from lstmhmm_bio.cli.evaluate import evaluate as command
from lstmhmm_bio.errors import InputError, UsageError
from lstmhmm_bio.evaluation import Evaluation, evaluate, evaluate_files
from lstmhmm_bio.io.reference import Transcript, read_transcripts
from lstmhmm_bio.sequence import encode

SHARED = Path(__file__).parents[1].parent / "shared"
REFEREE = SHARED / "tools" / "eval_genes.py"


def gene(start: int, end: int, strand: str = "+", seqid: str = "c1", **flags: Any) -> Transcript:
    return Transcript(seqid, strand, ((start, end),), f"{start}-{end}", f"{start}-{end}", **flags)


def spliced(*segments: tuple[int, int], gene: str = "g", strand: str = "+") -> Transcript:
    return Transcript("c1", strand, segments, gene, f"{gene}{segments}")


def counts(evaluation: Evaluation, level: str) -> tuple[int, int, int]:
    score = evaluation.scores[level]
    assert score.matched_reference == score.matched_predicted
    return score.reference, score.predicted, score.matched_reference


# ---- definitions


def test_stop_exact_and_start_given_stop() -> None:
    reference = [gene(0, 300), gene(400, 700, "-"), gene(800, 1100), gene(1200, 1500)]
    prediction = [gene(0, 300), gene(400, 670, "-"), gene(830, 1100), gene(1200, 1470), gene(1200, 1500, "-")]
    result = evaluate(reference, prediction)
    assert counts(result, "stop") == (4, 5, 3)
    assert counts(result, "exact") == (4, 5, 1)
    assert counts(result, "start|stop") == (3, 3, 1)
    assert counts(result, "base") == (1200, 1410, 300 + 270 + 270 + 270)
    assert result.scores["stop"].sensitivity == 0.75
    assert result.scores["stop"].precision == 0.6
    assert result.scores["stop"].f1 == pytest.approx(2 / 3)


def test_alternative_starts_of_one_stop_are_one_gene() -> None:
    result = evaluate([gene(0, 300), gene(30, 300)], [gene(30, 300), gene(60, 300)])
    assert counts(result, "stop") == (1, 1, 1)
    assert counts(result, "exact") == (1, 1, 1)


def test_outcomes_are_those_of_the_scores() -> None:
    reference = [gene(0, 300), gene(400, 700, "-"), gene(800, 1100)]
    result = evaluate(reference, [gene(0, 300), gene(400, 670, "-")])
    assert [(o.strand, o.stop, o.found_stop, o.found_start) for o in result.outcomes] == [
        ("+", 300, True, True),
        ("+", 1100, False, False),
        ("-", 400, True, False),
    ]
    assert [(c.strand, c.stop, c.right_stop, c.right_start) for c in result.calls] == [
        ("+", 300, True, True),
        ("-", 400, True, False),
    ]


def test_a_call_beside_all_genes_is_wrong() -> None:
    (call,) = evaluate([gene(0, 300)], [gene(0, 330)]).calls
    assert not call.right_stop
    assert not call.right_start


def test_predictions_on_ignored_genes_are_neutral_unless_strict() -> None:
    reference = [gene(0, 300, pseudo=True), gene(1000, 1300), gene(2000, 2300, unsure=True), gene(3000, 3300, odd=True)]
    prediction = [
        gene(30, 300),  # on the pseudogene
        gene(150, 450),  # half of it
        gene(151, 451),  # less than half
        gene(0, 300, "-"),  # other strand
        gene(1000, 1300),
        gene(2000, 2300),
        gene(3000, 3300),
    ]
    result = evaluate(reference, prediction)
    assert result.prediction_set_aside == {"neutral": 4}
    assert result.reference_set_aside == {"pseudo": 1, "unsure": 1, "odd": 1}
    assert counts(result, "stop") == (1, 3, 1)
    assert counts(evaluate(reference, prediction, strict=True), "stop") == (1, 7, 1)
    assert counts(evaluate(reference, prediction, keep_pseudo=True), "stop") == (2, 5, 2)


def test_a_right_stop_is_never_neutral_and_judged_genes_weigh_more() -> None:
    reference = [gene(0, 300, pseudo=True), gene(260, 500)]
    prediction = [gene(0, 500)]  # mostly on the pseudogene, with the real one's stop
    assert counts(evaluate(reference, prediction), "stop") == (1, 1, 1)
    assert evaluate(reference, prediction, "euk").prediction_set_aside == {"neutral": 1}
    result = evaluate([gene(0, 300, pseudo=True), gene(1, 301)], [gene(2, 302)])
    assert counts(result, "stop") == (1, 1, 0)  # more on the judged gene


def test_partial_genes() -> None:
    reference = [gene(0, 200, partial=True), gene(300, 600), gene(700, 1000)]
    prediction = [gene(2, 200, partial=True), gene(300, 600, partial=True), gene(996, 1200, partial=True)]
    lengths = {"c1": 1200}
    result = evaluate(reference, prediction, lengths=lengths)
    assert result.reference_set_aside == {"partial": 1}
    assert result.prediction_set_aside == {"partial": 2}  # those at the ends; the inner one is judged
    assert counts(result, "stop") == (2, 1, 1)
    assert evaluate(reference, prediction).prediction_set_aside == {"partial": 3}  # length unknown: believed
    assert counts(evaluate(reference, prediction, lengths=lengths, keep_partial=True), "stop") == (3, 3, 2)
    unknown = {"c1": encode("A" * 604 + "N" + "A" * 595)}
    assert evaluate(reference, prediction, genome=unknown).prediction_set_aside == {"partial": 3}


@pytest.mark.parametrize(
    ("start", "end", "believed"),
    [(5, 100, True), (6, 100, False), (100, 995, True), (100, 994, False), (100, 200, False), (0, 1000, True)],
)
def test_partial_predictions_must_end_within_five_bases_of_an_end(start: int, end: int, believed: bool) -> None:
    result = evaluate([gene(300, 600)], [gene(start, end, partial=True)], lengths={"c1": 1000})
    assert result.prediction_set_aside == ({"partial": 1} if believed else {})


def test_short_genes_are_set_aside_on_both_sides() -> None:
    result = evaluate([gene(0, 87), gene(100, 190)], [gene(0, 87), gene(100, 190), gene(500, 530)], min_length=90)
    assert counts(result, "stop") == (1, 1, 1)
    assert result.prediction_set_aside == {"short": 2}


@pytest.mark.parametrize("mode", ["prok", "euk"])
def test_stops_outside_are_found_with_the_genome(mode: Any) -> None:
    sequence = encode("ATGAAATAACCC" + "GGGTTATTTCAT")  # one gene on either strand
    inside, outside = [gene(0, 9), gene(15, 24, "-")], [gene(0, 6), gene(18, 24, "-")]
    result = evaluate(inside, outside, mode, genome={"c1": sequence})
    assert result.remarks == ("prediction: CDSs extended by the stop codon",)
    assert all(score.f1 == 1 for level, score in result.scores.items() if level != "intron")
    assert evaluate(outside, inside, mode, genome={"c1": sequence}).scores == result.scores
    assert evaluate(inside, outside, mode).scores["base"].f1 < 1


def test_versions_of_sequence_names() -> None:
    result = evaluate([gene(0, 90, seqid="NC_1.2")], [gene(0, 90, seqid="NC_1")])
    assert counts(result, "exact") == (1, 1, 1)
    assert "version" in result.remarks[0]
    result = evaluate([gene(0, 90, seqid="a")], [gene(0, 90, seqid="b")])
    assert counts(result, "exact") == (1, 1, 0)
    assert "no sequence name is common" in result.remarks[0]


def test_eukaryotic_levels() -> None:
    reference = [
        spliced((0, 100), (200, 300), (400, 500), gene="g1"),
        spliced((0, 100), (400, 500), gene="g1"),
        spliced((1000, 1100), (1200, 1300), gene="g2", strand="-"),
    ]
    prediction = [
        spliced((0, 100), (400, 500), gene="p1"),
        spliced((1000, 1100), (1200, 1290), gene="p2", strand="-"),
        spliced((2000, 2100), gene="p3"),
    ]
    result = evaluate(reference, prediction, "euk")
    assert counts(result, "base") == (500, 490, 390)
    assert counts(result, "exon") == (5, 5, 3)
    assert counts(result, "intron") == (4, 2, 2)
    assert counts(result, "transcript") == (3, 3, 1)
    assert counts(result, "gene") == (2, 3, 1)
    assert result.outcomes == ()


def test_undefined_scores() -> None:
    result = evaluate([gene(0, 90)], [])
    assert result.scores["stop"].sensitivity == 0
    assert np.isnan(result.scores["stop"].precision)
    assert result.to_dict()["scores"]["stop"]["precision"] is None
    assert Score(3, 3, 0, 0).f1 == 0
    with pytest.raises(UsageError, match="mode 'x'"):
        evaluate([], [], "x")  # type: ignore[arg-type]


SEGMENTS = st.lists(st.tuples(st.integers(-3, 40), st.integers(1, 12)), min_size=1, max_size=8)


@given(SEGMENTS, SEGMENTS)
def test_coverage_counts_positions(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    def positions(segments: Iterable[tuple[int, int]]) -> set[int]:
        return {x for start, length in segments for x in range(start, start + length)}

    a, b = (Coverage([gene(s, s + n) for s, n in segments]) for segments in (first, second))
    assert a.size == len(positions(first))
    assert a.common(b) == b.common(a) == len(positions(first) & positions(second))
    start, length = second[0]
    assert a.under(gene(start, start + length)) == len(positions(first) & positions(second[:1]))
    assert a.under(gene(start, start + length, "-")) == 0


# ---- command


def write_gff(path: Path, transcripts: Iterable[Transcript], lengths: dict[str, int] | None = None) -> Path:
    """GFF3 in the manner of bacterial gene finders."""
    lines = ["##gff-version 3", *(f"##sequence-region {name} 1 {n}" for name, n in (lengths or {}).items())]
    for number, t in enumerate(transcripts):
        flags = ";partial=true" * t.partial + ";pseudo=true" * t.pseudo + ";exception=true" * t.unsure
        lines.append(f"{t.seqid}\tx\tgene\t{t.start + 1}\t{t.end}\t.\t{t.strand}\t.\tID={t.gene}")
        for start, end in t.segments:
            parent = f"ID=cds{number};Parent={t.gene}{flags}"
            lines.append(f"{t.seqid}\tx\tCDS\t{start + 1}\t{end}\t.\t{t.strand}\t0\t{parent}")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_gtf(path: Path, transcripts: Iterable[Transcript], *, stop_rows: bool) -> Path:
    """GTF with the stop codon outside of the CDS, in a row of its own if `stop_rows`."""
    lines = []
    for t in transcripts:
        last = len(t.segments) - 1
        tag = f'gene_id "{t.gene}"; transcript_id "{t.name}";'
        for i, (start, end) in enumerate(t.segments):
            if not t.partial and t.strand == "+" and i == last and end - start > 3:
                end -= 3
                stop = end + 1, end + 3
            elif not t.partial and t.strand == "-" and i == 0 and end - start > 3:
                start += 3
                stop = start - 2, start
            else:
                stop = None
            lines.append(f"{t.seqid}\tx\tCDS\t{start + 1}\t{end}\t.\t{t.strand}\t0\t{tag}")
            if stop and stop_rows:
                lines.append(f"{t.seqid}\tx\tstop_codon\t{stop[0]}\t{stop[1]}\t.\t{t.strand}\t0\t{tag}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_command_prints_a_table_and_json(tmp_path: Path) -> None:
    reference = write_gff(tmp_path / "r.gff", [gene(0, 300), gene(400, 700, "-"), gene(800, 900, pseudo=True)])
    prediction = write_gff(tmp_path / "p.gff", [gene(0, 300), gene(500, 800)])
    arguments = [str(reference), str(prediction)]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.output.splitlines() == [
        "level         reference  predicted    matched     sens %     prec %       F1 %",
        "stop                  2          2          1      50.00      50.00      50.00",
        "exact                 2          2          1      50.00      50.00      50.00",
        "start|stop            1          1          1     100.00     100.00     100.00",
        "base                600        600        300      50.00      50.00      50.00",
        "set aside in the reference: 1 pseudo",
    ]
    printed = CliRunner().invoke(command, [*arguments, "--json", "-", "--mode", "euk"], catch_exceptions=False)
    assert json.loads(printed.output) == evaluate_files(reference, prediction, "euk").to_dict()
    target = tmp_path / "x.json"
    result = CliRunner().invoke(command, [*arguments, "--json", str(target)], catch_exceptions=False)
    assert json.loads(target.read_text())["scores"]["stop"]["f1"] == 0.5
    assert result.output.startswith("level")


def test_a_reference_without_genes_is_refused_and_a_prediction_is_not(tmp_path: Path) -> None:
    full, empty = write_gff(tmp_path / "r.gff", [gene(0, 300)]), write_gff(tmp_path / "p.gff", [])
    assert evaluate_files(full, empty).scores["stop"].sensitivity == 0
    with pytest.raises(InputError, match=r"p\.gff: holds no CDS"):
        evaluate_files(empty, full)


# ---- agreement with an independent implementation on real references


def referee() -> ModuleType:
    name = "eval_genes"
    spec = importlib.util.spec_from_file_location(name, REFEREE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def perturbed(transcripts: list[Transcript], lengths: dict[str, int], seed: int) -> list[Transcript]:
    """A prediction with every kind of error: lost, shifted, cut, flipped, invented and partial genes."""
    rng = np.random.default_rng(seed)
    out = []
    for number, t in enumerate(transcripts):
        (first, *_), (*_, last) = t.segments, t.segments
        segments, strand, flags = list(t.segments), t.strand, {"partial": False}
        match rng.integers(14):
            case 0:
                continue
            case 1 | 2:  # another start
                shift = 3 * int(rng.integers(1, 20))
                if strand == "+" and first[1] - first[0] > shift:
                    segments[0] = (first[0] + shift, first[1])
                elif strand == "-" and last[1] - last[0] > shift:
                    segments[-1] = (last[0], last[1] - shift)
            case 3:  # another stop, both ends on one exon
                segments = [(first[0], first[0] + max(3, (first[1] - first[0]) // 6 * 3))]
            case 4:
                strand = "-" if strand == "+" else "+"
            case 5:
                flags["partial"] = True
            case 6:
                flags["pseudo"] = True
            case 7 if len(segments) > 1:
                del segments[int(rng.integers(len(segments)))]
            case 8:  # an alternative start beside the right one
                out.append(Transcript(t.seqid, strand, ((first[0], last[1]),), f"a{number}", f"a{number}"))
        # isoforms keep their gene, but a third of the genes fall apart
        name = t.gene.replace(" ", "_") if rng.random() < 0.7 else f"n{number}"
        out.append(Transcript(t.seqid, strand, tuple(segments), name, f"t{number}", **flags))
    for number, (seqid, length) in enumerate(lengths.items()):
        invented = [(0, min(200, length)), (3, 100), (max(0, length - 150), length), (length - 99, length - 4)]
        starts = rng.integers(0, max(1, length - 700), 40).tolist()
        invented += [(start, start + 3 * int(rng.integers(10, 200))) for start in starts]
        for i, (start, end) in enumerate(invented):
            name = f"i{number}.{i}"
            strand = "+-"[int(rng.integers(2))]
            out.append(Transcript(seqid, strand, ((start, min(end, length)),), name, name, partial=i % 3 < 2))
    return out


OPTIONS = [
    {},
    {"min_length": 90, "strict": True},
    {"min_length": 300, "keep_partial": True, "keep_pseudo": True},
    {"keep_pseudo": True, "strict": True},
]


REAL_SETS = [folder for kind in ("prok", "euk") for folder in sorted((SHARED / "data" / "valid" / kind).glob("*"))]
SLOW_SETS = {"bsubtilis_BEST7003", "caulobacter_NA1000", "prevotella_copri", "dmel_chr2R_trainset"}


@pytest.mark.data
@pytest.mark.skipif(not REFEREE.exists(), reason="the real annotated genomes are not beside the checkout")
@pytest.mark.parametrize(
    "folder",
    [pytest.param(x, id=x.name, marks=[pytest.mark.slow] if x.name in SLOW_SETS else []) for x in REAL_SETS],
)
def test_every_figure_equals_the_referees(folder: Path, tmp_path: Path) -> None:
    judge = referee()
    reference, fasta = folder / "annotation.gff3.gz", folder / "genome.fa.gz"
    sequences = judge.read_fasta(str(fasta))
    lengths = {name: len(sequence) for name, sequence in sequences.items()}
    transcripts = [t for t in read_transcripts(reference) if not t.odd]
    mode: Any = folder.parent.name
    guess = perturbed(transcripts, lengths, seed=len(transcripts))
    predictions = [
        write_gff(tmp_path / "declared.gff", guess, lengths),
        write_gff(tmp_path / "undeclared.gff", guess),
        write_gtf(tmp_path / "stop_rows.gtf", guess, stop_rows=True),
        write_gtf(tmp_path / "no_stop.gtf", guess, stop_rows=False),
        reference,
    ]
    checked = 0
    cases: list[Any] = [*zip(predictions[:1] * 4, OPTIONS, [fasta, None, fasta, None], strict=True)]
    cases += zip(predictions[1:], OPTIONS, [None, None, fasta, fasta], strict=True)
    for prediction, options, genome in cases:
        ours = evaluate_files(reference, prediction, mode, genome=genome, **options)
        theirs, notes = judge.evaluate(str(reference), str(prediction), mode, genome=genome and str(genome), **options)
        assert list(ours.scores) == judge.LEVELS[mode]
        for level, score in ours.scores.items():
            expected = theirs[level]
            figures = (score.reference, score.predicted, score.matched_reference, score.matched_predicted)
            assert figures == tuple(expected[key] for key in ("ref", "pred", "tp_ref", "tp_pred")), (prediction, level)
            for key in ("sensitivity", "precision", "f1"):
                assert getattr(score, key) == pytest.approx(expected[key], rel=0, abs=1e-15, nan_ok=True)
        assert sum(ours.reference_set_aside.values()) == sum(n for k, n in notes.items() if "ref_ignored" in k)
        assert ours.prediction_set_aside.get("neutral", 0) == notes.get("pred_neutral", 0)
        assert ours.prediction_set_aside.get("partial", 0) == notes.get("pred_dropped_partial", 0)
        checked += len(ours.scores)
    assert checked == len(cases) * len(judge.LEVELS[mode])
