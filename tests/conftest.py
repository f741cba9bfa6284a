"""Set-up of all tests: two CPU devices in JAX, like two accelerators; no deadlines, since machines differ."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from lstmhmm_bio.runtime import configure

# nohup and a shell's background ignore them, and so would all that tests start
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
configure(2, "cpu", cache=False)
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

#: memory mappings from which compiled programs are let go: each takes a few, and Linux gives a process 65,530
MAPPINGS = 20_000


@pytest.fixture(autouse=True, scope="module")
def _programs_go() -> Iterator[None]:
    yield
    mappings = Path("/proc/self/maps")
    if mappings.exists() and mappings.read_text().count("\n") > MAPPINGS:
        import jax

        jax.clear_caches()
        gc.collect()
