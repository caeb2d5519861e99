"""How numba is used here: serial kernels without the GIL, cached per user."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

PRIVATE = 0o700


def compiled(function: Kernel) -> Kernel:
    """Compile at the first call, release the GIL, and keep the machine code on disk.

    Write ``@typing.no_type_check`` below it: a runtime type checker's wrapper cannot be compiled.
    ``contract`` allows fused multiply-add and ``reassoc`` vectorised sums; NaN and infinity keep
    their meaning (``fastmath=True`` would let the compiler drop tests for NaN).
    """
    # numba reads the directory when it decorates; other packages keep their own setting.
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = before or str(cache_directory())
    try:
        jit: Any = numba.njit(
            nogil=True,
            cache=True,
            error_model="numpy",
            fastmath={"contract", "reassoc", "nsz"},
        )
        kernel: Kernel = jit(function)
    finally:
        config.CACHE_DIR = before
    return kernel


@cache
def cache_directory() -> Path:
    """A directory only its owner can write: loading from it runs the code that it holds."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        path = Path(base).expanduser() / "kgscale" / "numba"
        path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid != os.getuid():
            raise PermissionError(f"{path} belongs to somebody else")
        if stat.S_IMODE(found.st_mode) != PRIVATE:
            path.chmod(PRIVATE)
        with tempfile.TemporaryFile(dir=path):
            return path
    except (OSError, RuntimeError):  # unwritable, foreign, or no home at all
        private = tempfile.mkdtemp(prefix="kgscale-numba-")
        atexit.register(shutil.rmtree, private, ignore_errors=True)
        return Path(private)


@intrinsic
def trailing_zeros(_context: Any, word: Any) -> Any:
    """How many low bits of a ``uint64`` that isn't 0 are 0: one machine instruction."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.int64(types.uint64), generate


@intrinsic
def prefetch(_context: Any, array: Any, _index: Any) -> Any:
    """Ask for the cache line of ``array[index]``, to be read soon; any index is harmless."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte = ir.IntType(8).as_pointer()
        number = ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        insert: Any = cgutils.get_or_insert_function
        call = insert(builder.module, shape, "llvm.prefetch.p0i8")
        address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        # For reading, into all levels of the data cache.
        builder.call(call, [address, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@intrinsic
def as_number(_context: Any, bits: Any) -> Any:
    """The float32 number of these 32 bits."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def as_bits(_context: Any, number: Any) -> Any:
    """The 32 bits of a float32 number."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), generate
