"""Set-up of all tests: two CPU devices in JAX, as on a machine with two cores; no deadlines, since machines differ."""

from __future__ import annotations

from hypothesis import settings

from lstmhmm_bio.runtime import configure

configure(2, "cpu", cache=False)
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
