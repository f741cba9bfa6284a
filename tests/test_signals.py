from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lstmhmm_bio import cli
from lstmhmm_bio.cli import Stopped, _signals_raise


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_inside_a_callback_is_not_lost(number, capfd):
    sent = []

    def callback(phase: str, info: dict) -> None:
        if not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
            time.sleep(0)  # a moment in which Python handles the signal, and swallows what its handler raises

    before = signal.getsignal(number), signal.getsignal(signal.SIGALRM), sys.unraisablehook
    gc.disable()  # a collection of Python's own accord would call back too early
    try:
        with pytest.raises(Stopped) as stop, _signals_raise():  # noqa: PT012
            gc.callbacks.append(callback)
            gc.collect()
            time.sleep(5)
    finally:
        gc.enable()
        gc.callbacks.remove(callback)
    assert stop.value.number == number
    assert sent
    assert (signal.getsignal(number), signal.getsignal(signal.SIGALRM), sys.unraisablehook) == before
    assert capfd.readouterr().err == ""


def test_other_errors_of_callbacks_are_still_told(capfd):
    class Broken:
        def __del__(self) -> None:
            raise ValueError("told")

    told = []
    before, sys.unraisablehook = sys.unraisablehook, lambda unraisable: told.append(str(unraisable.exc_value))
    try:
        with _signals_raise():
            Broken()
    finally:
        sys.unraisablehook = before
    assert told == ["told"]


@pytest.mark.parametrize(("moment", "code"), [("before", 128 + signal.SIGHUP), ("after", 0)])
def test_a_signal_before_the_run_begins_or_after_it_ended(moment, code, monkeypatch, capfd):
    calls = []

    @contextmanager
    def raising() -> Iterator[None]:
        if moment == "before":
            raise Stopped(signal.SIGHUP)
        yield
        raise Stopped(signal.SIGHUP)

    monkeypatch.setattr(cli, "_signals_raise", raising)
    monkeypatch.setattr(cli, "_run", lambda arguments: calls.append(arguments) or 0)
    with pytest.raises(SystemExit) as end:
        cli.main(["models"])
    assert end.value.code == code
    assert len(calls) == (moment == "after")
    assert capfd.readouterr().err == ""
