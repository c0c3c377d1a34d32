"""Asking the processor for memory before it is needed, in compiled loops that jump through large arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        proxy: Any = cgutils.create_struct_proxy(array)  # type: ignore[no-untyped-call]
        data = proxy(context, builder, value=args[0]).data
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        place = builder.bitcast(builder.gep(data, [args[1]]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        # to be read, to stay in all caches, as data
        builder.call(fetch, [place, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.none(array, types.intp), generate


# prefetch(array, index) of a contiguous array of one axis, inside compiled functions only: has the cache line fetched that
# holds array[index] and goes on; no place is wrong, since nothing is read
prefetch = cast(Callable[[Any, Any], None], intrinsic(_prefetch))
