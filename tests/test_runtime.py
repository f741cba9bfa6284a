"""JAX as a process of its own sets it up."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("threads", [1, 3])
def test_calls_side_by_side_share_the_cpu(threads: int) -> None:
    program = (
        "from lstmhmm_bio.runtime import call_devices, configure\n"
        f"configure({threads}, 'cpu', cache=False)\n"
        "devices = call_devices()\n"
        "print(len(devices), len(set(devices)))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{threads} 1\n"
