"""Set-up of JAX for all tests: two CPU devices, as on a machine with two cores."""

from __future__ import annotations

from lstmhmm_bio.runtime import configure

configure(2, "cpu", cache=False)
