"""Programs that are kept between runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstmhmm_bio import programs, runtime
from lstmhmm_bio.hmm.grammars import decoding_grammar, labels
from lstmhmm_bio.hmm.grammars.labels import Label, Labels
from lstmhmm_bio.programs import kept


class Pair(NamedTuple):
    a: jax.Array
    b: jax.Array


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(runtime, "_programs", tmp_path / "programs")
    yield tmp_path / "programs"
    assert not list(tmp_path.rglob("tmp*"))


def traced(traces: list[int]) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """A program as a new process would have it, which says when it is traced."""

    @kept(1, 3)
    def combined(pair: Pair, times: int, x: jax.Array, name: str) -> tuple[jax.Array, jax.Array]:
        traces.append(times)
        return times * pair.a + x, (pair.b * x).astype(jnp.int16)

    return combined


ARGUMENTS = (Pair(np.float32([1, 2]), np.arange(2, dtype=np.uint8)), 3, np.float32([0.5, 4]), "one")


def test_a_program_is_traced_once_for_all_runs(folder: Path) -> None:
    traces: list[int] = []
    for run in range(3):
        program = traced(traces)
        for _ in range(2):
            first, second = program(*ARGUMENTS)
            np.testing.assert_array_equal(first, [3.5, 10])
            np.testing.assert_array_equal(second, [0, 4])
            assert second.dtype == jnp.int16
        assert (traces, len(list(folder.iterdir()))) == ([3], 1), run


def test_other_shapes_types_and_static_arguments_are_other_programs(folder: Path) -> None:
    pair, times, x, name = ARGUMENTS
    traces: list[int] = []
    variants = [
        (pair, times, x, name),
        (pair, times, x, "two"),
        (pair, 4, x, name),
        (pair, times, np.float32(1), name),
        (pair, times, x.astype(np.int32), name),
        (Pair(*(np.resize(v, (5, 2)) for v in pair)), times, x, name),
    ]
    for _ in range(2):
        program = traced(traces)
        for variant in variants:
            (p, n, y, _), found = variant, program(*variant)
            np.testing.assert_array_equal(found[0], n * p.a + y)
    assert len(traces) == len(list(folder.iterdir())) == len(variants)


@pytest.mark.parametrize("damage", [lambda c: b"", lambda c: c[:-1], lambda c: c[:40] + b"x" + c[41:]])
def test_a_damaged_program_is_traced_again(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    traces: list[int] = []
    traced(traces)(*ARGUMENTS)
    (path,) = folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    np.testing.assert_array_equal(traced(traces)(*ARGUMENTS)[0], [3.5, 10])
    traced(traces)(*ARGUMENTS)
    assert traces == [3, 3]


def test_other_source_is_another_program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traces: list[int] = []
    traced(traces)(*ARGUMENTS)
    monkeypatch.setattr(programs, "_surroundings", lambda: "changed")
    traced(traces)(*ARGUMENTS)
    assert traces == [3, 3]


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(runtime, "_programs", tmp_path / "file" / "programs")
    np.testing.assert_array_equal(traced([])(*ARGUMENTS)[0], [3.5, 10])


def test_without_a_cache_nothing_is_kept() -> None:
    assert runtime.program_folder() is None
    traces: list[int] = []
    for _ in range(2):
        np.testing.assert_array_equal(traced(traces)(*ARGUMENTS)[0], [3.5, 10])
    assert traces == [3, 3]


def test_threads_trace_once(folder: Path) -> None:
    traces: list[int] = []
    program = traced(traces)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: program(*ARGUMENTS)[0], range(32)))
    assert traces == [3]
    assert all((np.asarray(x) == [3.5, 10]).all() for x in found)


def test_a_program_runs_on_every_device(folder: Path) -> None:
    pair, times, x, name = ARGUMENTS
    for _ in range(2):
        program = traced([])
        for device in jax.devices():
            there, y = jax.device_put((pair, x), device)
            found = program(there, times, y, name)[0]
            assert found.devices() == {device}
            np.testing.assert_array_equal(found, [3.5, 10])
            with jax.default_device(device):
                assert program(*ARGUMENTS)[0].devices() == {device}
    assert len(jax.devices()) == 2
    assert len(list(folder.iterdir())) == 1


def test_static_arguments_have_to_say_what_they_are(folder: Path) -> None:
    with pytest.raises(TypeError, match="no description"):
        kept(0)(lambda thing, x: x)(object(), np.float32(1))


def test_grammars_say_what_they_are() -> None:
    genes = [{"min_intron": n, "at_ac_introns": at_ac} for n in (9, 10) for at_ac in (False, True)]
    regions = [Labels((Label("x"), Label("y", n)), background) for n in (1, 4) for background in ("", "x")]
    grammars = [
        decoding_grammar("bacteria", {}),
        *(decoding_grammar("eukaryote", settings) for settings in genes),
        *map(labels.decoding_grammar, regions),
    ]
    said = [*map(repr, grammars), *(repr(g.smaller) for g in grammars)]
    said += [repr(g.relaxed.grammar) for g in grammars if g.relaxed]
    assert not any(" at 0x" in text for text in said)
    # of eukaryotes the relaxed ones and those for posteriors depend on AT-AC introns alone; the regions of at least
    # four bases have smaller ones
    assert len(set(said)) == 9 + 2 + 2 + 2
