"""Compiles loops over arrays, such as those of `engine.window_kernels`, to native code, once on a machine.

The adapter of Numba and LLVM. Numba takes most of a second to load, so it only translates: its code is kept as an
object file, which LLVM loads in a twentieth of that. The file's name tells the loops, the versions and the processor;
it is written whole or not at all, so that processes may compile at the same moment. Where nothing can be written, each
process compiles for itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import inspect
import os
import sys
import threading
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm

from features.core.atomic_write import write_atomically

ARRAY, FLOATS, NUMBER, FACTOR = "CPointer(int64)", "CPointer(float64)", "int64", "float64"  # kinds of arguments
_KINDS = {ARRAY: ctypes.c_void_p, FLOATS: ctypes.c_void_p, NUMBER: ctypes.c_int64, FACTOR: ctypes.c_double}
_LOCK = threading.Lock()
_ENGINES: list[Any] = []  # they own the code in memory


def load_kernels(module: ModuleType) -> Mapping[str, Callable[..., None]]:
    """Return a module's loops, compiled, by name: functions of addresses and numbers, during which other threads run.

    Args:
        module: Has the loops, with the kinds of their arguments, in `KERNELS`.
    """
    with _LOCK:  # one thread compiles
        return _load(module)


@cache
def _load(module: ModuleType) -> Mapping[str, Callable[..., None]]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name = f"{module.__name__.rpartition('.')[2]}-{_fingerprint(module)}.o"
    files = [folder / name for folder in _list_folders()]
    code = next((found for file in files if (found := _read(file)) is not None), None)
    if code is None:
        code = _compile(module)
        _write_first(files, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _create_machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _ENGINES.append(engine)
    loops: dict[str, Callable[..., None]] = {}
    for function, kinds in module.KERNELS.items():
        prototype = ctypes.CFUNCTYPE(None, *(_KINDS[kind] for kind in kinds))
        loops[function.__name__] = prototype(engine.get_function_address(function.__name__))
    return loops


def _compile(module: ModuleType) -> bytes:
    """Return the loops as an object file for this processor."""
    import numba

    whole = llvm.parse_assembly("")
    for function, kinds in module.KERNELS.items():
        # No checks for division by 0: none is needed, and their errors would need Python.
        translated = numba.cfunc(f"void({', '.join(kinds)})", error_model="numpy")(function)
        part = llvm.parse_assembly(translated.inspect_llvm())
        part.get_function(translated.native_name).name = function.__name__
        whole.link_in(part)
    code = bytes(_create_machine().emit_object(whole))
    if b"numba_gil_ensure" in code:  # what a process without Numba would load, and then die of
        message = f"a loop of {module.__name__} calls Python"
        raise TypeError(message)
    return code


def _create_machine() -> Any:
    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True)


def _fingerprint(module: ModuleType) -> str:
    """Return 16 hexadecimal digits that change with the loops, the compiler and the processor."""
    made_of = [inspect.getsource(module), inspect.getsource(sys.modules[__name__])]
    made_of += [version("numba"), version("llvmlite"), sys.version]
    made_of += [llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    return hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]


def _list_folders() -> list[Path]:
    """Return where compiled code may lie: beside this module, or in the user's own cache."""
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "garrison"
    return [Path(__file__).parent / "__pycache__", own]


def _read(file: Path) -> bytes | None:
    try:
        # What another user could have written is not run.
        return file.read_bytes() if file.stat().st_uid in {os.getuid(), Path(__file__).stat().st_uid} else None
    except OSError:
        return None


def _write_first(files: list[Path], code: bytes) -> None:
    """Write the code to the first of the files that can be written; without any, the next process compiles again."""
    for file in files:
        with contextlib.suppress(OSError), write_atomically(file) as part:
            part.write_bytes(code)
            return
