"""Setting up JAX: threads, a persistent compilation cache, and where calls run side by side.

Must run before JAX is first used, because XLA reads its settings once. On a CPU as many calls run at once as there are
threads, all on one device: the LSTM's small products gain little from being split, and programs are traced, compiled
and loaded once.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UsageError

if TYPE_CHECKING:
    import jax

#: threads that `configure` was given
_threads: int | None = None
#: the folder of the programs that are kept, if it was told to
_programs: Path | None = None


def available_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def configure(threads: int = 0, device: str = "auto", *, cache: bool = True) -> None:
    """Prepares JAX for this process.

    Args:
        threads: CPU cores to use; 0 for all.
        device: "auto" (an accelerator if JAX finds one), "cpu" or "gpu".
        cache: keep compiled programs in the user's cache folder (`LSTMHMM_CACHE`, else XDG's) for the next run.

    Raises:
        UsageError: a GPU is wanted and there is none that JAX can use.
    """
    global _threads, _programs
    _threads = threads or available_cores()
    keep_memory()
    if "jax" not in sys.modules:
        os.environ["NPROC"] = str(_threads)  # size of XLA's thread pool
        flags = [
            "--xla_cpu_multi_thread_eigen=false",
            # compile whole scans into one function: decoding a long record is ten times faster
            "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=100000000",
            os.environ.get("XLA_FLAGS", ""),
        ]
        os.environ["XLA_FLAGS"] = " ".join(flags).strip()
        if device == "cpu":
            os.environ["JAX_PLATFORMS"] = "cpu"
    with _signals_wait():
        import jax

    _programs = None
    if cache:
        folder = os.environ.get("LSTMHMM_CACHE") or (
            Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lstmhmm"
        )
        _programs = Path(folder) / "programs"
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    if device == "gpu":
        try:
            jax.devices("gpu")
        except RuntimeError:
            raise UsageError("--device gpu: JAX finds no GPU; install jax[cuda12] or use --device cpu") from None


def program_folder() -> Path | None:
    """Where traced programs are kept between runs (see `programs`); None if they are not."""
    return _programs


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Signals arrive afterwards: an exception of their handlers would end the process from within JAX's C++ modules,
    which do not expect one while they are loaded.
    """
    arrived: list[int] = []
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # only there Python's handlers run
        before = {n: handler for n in signal.valid_signals() if callable(handler := signal.getsignal(n))}
    for number in before:
        signal.signal(number, lambda n, _: arrived.append(n))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])


def call_devices() -> list[jax.Device]:
    """The device of each of the calls that may run at once: every accelerator takes one, a CPU one per thread."""
    import jax

    devices = jax.devices()
    if len(devices) == 1 and devices[0].platform == "cpu":
        return devices * (_threads or available_cores())
    return devices


#: of glibc's mallopt
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_memory(free: int = 1 << 28, largest: int = 1 << 27) -> None:
    """One heap for all threads, which keeps some free memory to use again and holds blocks up to some size.

    As glibc comes, what one call of a program gives back goes to the kernel, which has to clear it for the next (a
    fifth of all time); and every thread has a heap of its own, full of holes where records are many and short.

    Args:
        free: bytes that are kept at most.
        largest: bytes of the largest block that is.
    """
    tune = _glibc("mallopt")
    if tune is not None:
        for parameter, value in ((_M_TRIM_THRESHOLD, free), (_M_MMAP_THRESHOLD, largest), (_M_ARENA_MAX, 1)):
            tune(parameter, value)


def return_memory() -> None:
    """Gives back what compiling used: some 100 MB a program, which glibc's allocator would keep."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc; None with another C library."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
