"""Set-up of all tests: two CPU devices in JAX, like two accelerators; no deadlines, since machines differ."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

from lstmhmm_bio.runtime import configure

# nohup and a shell's background ignore them, and so would all that tests start
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
configure(2, "cpu", cache=False)
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")
