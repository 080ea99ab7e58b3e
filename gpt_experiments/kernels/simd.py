"""Vectors for Numba: a processor's vector registers as values in compiled code, where loops alone fall short.

Numba's compiler makes vector instructions of simple loops, but it keeps the running sums of a small matrix product in
memory. Written with these vectors they stay in registers. A vector has LANES entries and exists only inside functions
that Numba compiles; LLVM cuts it to what the processor has. Three kinds: `Floats` (float32), `Words` (uint32), and
`Mask`, which a comparison gives and `where` takes. Arithmetic between a vector and a number takes the number for every
lane. Arrays are one-dimensional and contiguous, and their bounds are not checked.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

LANES: Final = 16 if llvm.get_host_cpu_features().get("avx512f") else 8
"""Entries of a vector: what 512 bits hold, or 256 (two registers of 128 bits where there are no longer ones)."""

# Sums may be reordered and contracted to fused multiply-adds; infinities and NaN keep their meaning.
_ARITHMETIC: Final = ("reassoc", "contract", "nsz", "arcp")


# Numba's functions have no types.
_instruction: Callable[[Callable[..., Any]], Callable[..., Any]] = intrinsic
_typing: Callable[..., Callable[..., Any]] = type_callable
_lowering: Callable[..., Callable[..., Any]] = lower_builtin


class _Vector(types.Type):
    def __init__(self, name: str, lane: ir.Type) -> None:
        super().__init__(name=f"{name}x{LANES}")
        self.llvm_type = ir.VectorType(lane, LANES)


Floats: Final = _Vector("Floats", ir.FloatType())
Words: Final = _Vector("Words", ir.IntType(32))
Mask: Final = _Vector("Mask", ir.IntType(1))


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: _Vector) -> None:
        super().__init__(manager, vector, vector.llvm_type)  # type: ignore[no-untyped-call]


@_instruction
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """The vector of array[index : index + LANES], of a float32 or uint32 array."""
    vector = _vector_of(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, signature, args)
        return builder.load(builder.bitcast(address, vector.llvm_type.as_pointer()), align=4)

    return vector(array, types.intp), generate


@_instruction
def store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write the vector `value` to array[index : index + LANES]."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, signature, args)
        builder.store(args[2], builder.bitcast(address, args[2].type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


@_instruction
def load_some(typing_context: Any, array: Any, index: Any, mask: Any) -> Any:
    """As `load` where the mask holds; 0 in the other lanes, which are not read."""
    vector = _vector_of(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = builder.bitcast(_address(context, builder, signature, args), vector.llvm_type.as_pointer())
        zeros = ir.Constant(vector.llvm_type, [0.0] * LANES)
        given = [address, ir.Constant(ir.IntType(32), 4), args[2], zeros]
        return _call(builder, f"llvm.masked.load.v{LANES}f32.p0", vector.llvm_type, given)

    return vector(array, types.intp, Mask), generate


@_instruction
def store_some(typing_context: Any, array: Any, index: Any, value: Any, mask: Any) -> Any:
    """As `store` where the mask holds; what the other lanes would overwrite stays."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = builder.bitcast(_address(context, builder, signature, args), args[2].type.as_pointer())
        _call(
            builder,
            f"llvm.masked.store.v{LANES}f32.p0",
            ir.VoidType(),
            [args[2], address, ir.Constant(ir.IntType(32), 4), args[3]],
        )
        return context.get_dummy_value()

    return types.void(array, types.intp, value, Mask), generate


@_instruction
def broadcast(typing_context: Any, array: Any, index: Any) -> Any:
    """array[index] in every lane."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _in_every_lane(builder, builder.load(_address(context, builder, signature, args)))

    return _vector_of(array.dtype)(array, types.intp), generate


@_instruction
def splat(typing_context: Any, number: Any) -> Any:
    """A float32 or uint32 in every lane."""
    return _vector_of(number)(number), lambda context, builder, signature, args: _in_every_lane(builder, args[0])


@_instruction
def where(typing_context: Any, mask: Any, a: Any, b: Any) -> Any:
    """The lanes of `a` where the mask holds, of `b` elsewhere."""
    return a(Mask, a, a), lambda context, builder, signature, args: builder.select(*args)


@_instruction
def floor(typing_context: Any, x: Any) -> Any:
    """The largest whole number that is not above x."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, f"llvm.floor.v{LANES}f32", Floats.llvm_type, args)

    return Floats(Floats), generate


@_instruction
def power_of_two(typing_context: Any, exponent: Any) -> Any:
    """2 ** exponent, put together from its bits; `exponent` are whole numbers from -126 to 127."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole = builder.fptosi(args[0], Words.llvm_type)
        biased = builder.add(whole, ir.Constant(Words.llvm_type, [127] * LANES))
        bits = builder.shl(biased, ir.Constant(Words.llvm_type, [23] * LANES))
        return builder.bitcast(bits, Floats.llvm_type)

    return Floats(Floats), generate


@_instruction
def sum_lanes(typing_context: Any, x: Any) -> Any:
    """The sum of a vector's entries."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given = [ir.Constant(ir.FloatType(), 0.0), args[0]]
        return _call(builder, f"llvm.vector.reduce.fadd.v{LANES}f32", ir.FloatType(), given, fastmath=("reassoc",))

    return types.float32(Floats), generate


@_instruction
def transpose(typing_context: Any, source: Any, at: Any, row: Any, target: Any, target_at: Any, target_row: Any) -> Any:
    """target[c, r] = source[r, c] for LANES rows and columns; the arrays are flat, their rows so many entries apart."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, at, row, target, target_at, target_row = args

        def address(array_type: Any, array: Any, start: Any, row: Any, r: int) -> Any:
            index = builder.add(start, builder.mul(row, ir.Constant(row.type, r)))
            data = context.make_array(array_type)(context, builder, array).data
            return builder.bitcast(builder.gep(data, [index]), Floats.llvm_type.as_pointer())

        rows = [builder.load(address(signature.args[0], source, at, row, r), align=4) for r in range(LANES)]
        for r, column in enumerate(_exchanged(builder, rows)):
            builder.store(column, address(signature.args[3], target, target_at, target_row, r), align=4)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.intp, types.intp), generate


def _exchanged(builder: Any, rows: list[Any]) -> list[Any]:
    """The columns of a square of vectors, by exchanging halves, quarters, ... of pairs of rows (Eklundh 1972)."""
    half = LANES // 2
    while half:
        kept_left = [i if i & half == 0 else i - half + LANES for i in range(LANES)]
        kept_right = [i + half if i & half == 0 else i + LANES for i in range(LANES)]
        left, right = (ir.Constant(Words.llvm_type, lanes) for lanes in (kept_left, kept_right))
        exchanged = list(rows)
        for r in range(LANES):
            if r & half == 0:
                exchanged[r] = builder.shuffle_vector(rows[r], rows[r + half], left)
                exchanged[r + half] = builder.shuffle_vector(rows[r], rows[r + half], right)
        rows, half = exchanged, half // 2
    return rows


def _call(builder: Any, name: str, result: ir.Type, args: Any, **options: Any) -> Any:
    """Call a function that LLVM provides."""
    kind = ir.FunctionType(result, [arg.type for arg in args])
    function = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
    return builder.call(function, args, **options)


def _vector_of(number: Any) -> _Vector:
    return {types.float32: Floats, types.uint32: Words}[number]


def _address(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Of array[index], the first two arguments."""
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    return builder.gep(data, [args[1]])


def _in_every_lane(builder: Any, number: Any) -> Any:
    none = ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined)
    first = builder.insert_element(none, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, none, ir.Constant(Words.llvm_type, [0] * LANES))


def _operator(function: Callable[..., Any], build: Callable[..., Any], operand: _Vector, result: _Vector) -> None:
    """Let Numba compile `function`, of Python's operators, for two vectors, or for a vector and a number."""
    number = types.float32 if operand is Floats else types.uint32
    taken = [(operand, operand), (operand, number), (number, operand)]

    @_typing(function)
    def type_of_result(typing_context: Any) -> Any:
        return lambda a, b: result if (a, b) in taken else None

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        both = [
            arg if kind is operand else _in_every_lane(builder, arg)
            for arg, kind in zip(args, signature.args, strict=True)
        ]
        return build(builder, *both)

    for kinds in taken:
        _lowering(function, *kinds)(lower)


_operator(operator.add, lambda b, x, y: b.fadd(x, y, flags=_ARITHMETIC), Floats, Floats)
_operator(operator.sub, lambda b, x, y: b.fsub(x, y, flags=_ARITHMETIC), Floats, Floats)
_operator(operator.mul, lambda b, x, y: b.fmul(x, y, flags=_ARITHMETIC), Floats, Floats)
_operator(operator.truediv, lambda b, x, y: b.fdiv(x, y), Floats, Floats)
_operator(operator.lt, lambda b, x, y: b.fcmp_ordered("<", x, y), Floats, Mask)
_operator(max, lambda b, x, y: b.select(b.fcmp_ordered(">", x, y), x, y), Floats, Floats)
_operator(operator.add, lambda b, x, y: b.add(x, y), Words, Words)
_operator(operator.mul, lambda b, x, y: b.mul(x, y), Words, Words)
_operator(operator.xor, lambda b, x, y: b.xor(x, y), Words, Words)
_operator(operator.rshift, lambda b, x, y: b.lshr(x, y), Words, Words)
_operator(operator.le, lambda b, x, y: b.icmp_unsigned("<=", x, y), Words, Mask)
