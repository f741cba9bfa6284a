"""Programs that outlive a run: what JAX traces of a function is kept for the next one.

JAX's compilation cache keeps what XLA makes of a program, but to find it there the program is traced and lowered again,
0.1 to 1 s of Python for every shape. A function under `kept` writes what was traced (StableHLO, by `jax.export`) beside
it, under a name that stands for all that a trace depends on: the source of this package, the versions of JAX, the kind
of device, the static arguments and the shapes of the others. Constants of modules that were changed at run time are not
part of it: whoever does that configures without a cache.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any, TypeVar

import jax
import jaxlib
import numpy as np
from jax import export

from . import runtime

R = TypeVar("R")
#: bytes of the checksum that a file begins with
_CHECKSUM = hashlib.sha256().digest_size


def kept(*static: int) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Like `jax.jit`, with traces that are kept where `runtime.configure` was told to have a cache.

    Args:
        static: positions of the static arguments; their `repr` must say all about them.

    Returns:
        A decorator of pure functions whose arguments are given by position and whose results are arrays or tuples of
        them.
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        program = _Program(function, static)

        @wraps(function)
        def call(*arguments: Any) -> R:
            result: R = program(*arguments)
            return result

        return call

    return decorate


class _Program:
    def __init__(self, function: Callable[..., Any], static: Sequence[int]) -> None:
        self._function, self._static = function, static
        self._traced = jax.jit(function, static_argnums=tuple(static))
        self._ready: dict[Hashable, Callable[..., Any]] = {}
        self._locks: dict[Hashable, threading.Lock] = {}

    def __call__(self, *arguments: Any) -> Any:
        folder = runtime.program_folder()
        if folder is None:
            return self._traced(*arguments)
        static = {i: arguments[i] for i in self._static}
        leaves, tree = jax.tree.flatten([x for i, x in enumerate(arguments) if i not in static])
        shapes = tuple(jax.ShapeDtypeStruct(np.shape(x), jax.dtypes.result_type(x)) for x in leaves)
        key = (tuple(static.values()), tree, shapes)
        program = self._ready.get(key)
        if program is None:
            # other threads wait for the one that traces and compiles
            with self._locks.setdefault(key, threading.Lock()):
                program = self._ready.get(key)
                if program is None:
                    program = jax.jit(self._exported(folder, static, tree, shapes).call)
                    result = program(*leaves)
                    self._ready[key] = program
                    return result
        return program(*leaves)

    def _exported(
        self, folder: Path, static: dict[int, Any], tree: jax.tree_util.PyTreeDef, shapes: Sequence[Any]
    ) -> export.Exported:
        """The trace for some arguments, from the folder if it is there."""
        said = f"{self._function.__module__}.{self._function.__qualname__} {static} {tree} {shapes}"
        if " at 0x" in said:
            raise TypeError(f"a static argument's repr is no description of it: {static}")
        path = folder / f"{hashlib.sha256((_surroundings() + said).encode()).hexdigest()}.stablehlo"
        content = _read(path)
        if content is not None:
            return export.deserialize(content)
        arguments = len(static) + len(tree.children())

        def flat(*leaves: Any) -> Any:
            dynamic = iter(jax.tree.unflatten(tree, leaves))
            return self._function(*(static[i] if i in static else next(dynamic) for i in range(arguments)))

        exported = export.export(jax.jit(flat))(*shapes)
        _write(path, exported.serialize())
        return exported


@cache
def _surroundings() -> str:
    """All that a trace depends on but for the function's arguments."""
    source = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        source.update(path.read_bytes())
    return f"{source.hexdigest()} {jax.__version__} {jaxlib.__version__} {jax.default_backend()} "


def _read(path: Path) -> bytearray | None:
    """What `_write` wrote; None if there is nothing, or not all of it."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    checksum, rest = content[:_CHECKSUM], content[_CHECKSUM:]
    return bytearray(rest) if hashlib.sha256(rest).digest() == checksum else None


def _write(path: Path, content: bytes | bytearray) -> None:
    """Beside, then renamed; a folder that cannot be written costs the next run its time and no more."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(hashlib.sha256(content).digest() + content)
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
