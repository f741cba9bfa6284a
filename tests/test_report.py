"""The HTML page of a run."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from command import fasta, run
from tiny import random_codes, random_counts

from lstmhmm_bio.calibration import Calibration
from lstmhmm_bio.features import Annotation, Gene, Record
from lstmhmm_bio.quality import Summary
from lstmhmm_bio.report import CELL, SHOWN, Report, _path


class Page(HTMLParser):
    """Tags that are open, and what refers elsewhere."""

    EMPTY = ("meta", "path", "rect")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def genome(lengths: list[int]) -> list[Annotation]:
    rng = np.random.default_rng(1)
    out = []
    for i, length in enumerate(lengths):
        record = Record(f"rec<{i}>", random_codes(rng, length, unknown=0.01))
        genes = tuple(
            Gene(record.id, a, a + 900, "+-"[a // 1000 % 2], 0.95, start_score=0.8, start_codon="ATG")
            for a in range(0, length - 900, 1000)
        )
        out.append(Annotation(record, genes))
    return out


def page(annotations: list[Annotation], calibration: Calibration | None = None) -> str:
    report, summary = Report(), Summary()
    for annotation in annotations:
        report.add(annotation)
        summary.add(annotation)
    return report.html(summary, run={"input": "x <&> y.fa", "model": "tiny 1"}, calibration=calibration)


def parsed(html: str) -> Page:
    parser = Page()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize("lengths", [[], [0], [500], [60_000, 3000], [3000] * 40, [2_300_000]])
def test_page_is_whole_and_asks_for_nothing(lengths: list[int]) -> None:
    html = page(genome(lengths))
    found = parsed(html)
    assert found.references == []
    assert "http" not in html
    assert "url(" not in html
    assert "nan" not in html
    assert "x <&> y.fa" in found.text


def test_figures_are_those_of_the_genes() -> None:
    html = page(genome([60_000, 3000]))
    text = parsed(html).text
    assert "rec<0>" in text
    assert re.search(r"genes\s*63partial", text)
    assert "ATG100.0 %63" in text
    assert "highest bar 63 of 63" in text


def test_a_genome_unlike_others_is_warned_of() -> None:
    (annotation,) = genome([100_000])
    assert "Warnings" not in page([annotation])
    html = page([Annotation(annotation.record, annotation.genes[:20])])
    assert "is low for a prokaryote" in html


def test_only_the_longest_records_are_shown_and_kept() -> None:
    lengths = [1000 + 10 * i for i in range(50)]
    report, summary = Report(), Summary()
    for annotation in genome(lengths):
        report.add(annotation)
        summary.add(annotation)
    assert len(report._longest) == SHOWN
    html = report.html(summary, run={}, calibration=None)
    assert [f"rec&lt;{i}&gt;" in html for i in (0, 37, 38, 49)] == [False, False, True, True]
    assert "and 38 shorter records" in html


def test_long_records_are_drawn_with_few_points() -> None:
    html = page(genome([3_000_000]))
    assert len(html) < 60_000
    assert html.count("h1") < 1000
    assert 3_000_000 / CELL > 500


def test_genes_over_the_origin_of_a_circle_count_on_both_sides() -> None:
    record = Record("x", np.zeros(10_000, np.uint8), circular=True)
    report = Report()
    report.add(Annotation(record, (Gene("x", 9500, 10_500, "+", 1.0),)))
    ((*_, overview),) = report._longest
    assert overview.cells[:, 3].tolist() == [500, 500]


def test_lines_break_where_nothing_is_known() -> None:
    assert _path(np.array([0.0, np.nan, 1.0, 0.5]), 10, 0) == "M0.5 10.0M2.5 0.0L3.5 5.0"
    assert _path(np.array([np.nan]), 10, 0) == ""


def test_calibration_is_shown() -> None:
    counts = random_counts(np.random.default_rng(2))
    text = parsed(page(genome([60_000]), Calibration(counts, 0.41, 4))).text
    assert "Genetic code 4, GC 41.0 %" in text
    assert "Bases around starts" in text


def test_command_writes_the_report(tmp_path: Path) -> None:
    path, output = tmp_path / "x.fa", tmp_path / "report.html"
    path.write_text(fasta(Record("r", random_codes(np.random.default_rng(3), 3000))))
    result = run("annotate", path, "--meta", "--report", output, "-o", tmp_path / "genes.gff3")
    assert result.code == 0, result.err
    assert f"lstmhmm annotate {path} " in parsed(output.read_text()).text
    assert run("annotate", path, "--report", path).code == 2
