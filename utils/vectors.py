"""Machine code for many equal small problems side by side: Python functions that write down what shall be computed.

Loops over plain numbers reach a tenth of what a processor can do; compilers find too few of the vectors in them. Here
they are said. A :class:`Value` stands for a number, or for a vector of single-precision numbers, one in each *lane*;
:class:`Rows` for an address in memory with such values one after the other. Arithmetic on them is recorded, not done:
a function runs once, while it is compiled, and what it recorded runs as often as wished (LLVM, by llvmlite).

So Python's own ``for`` and ``if`` decide what is written down; :func:`loop` and :func:`when` record a loop and a
condition, a :class:`Variable` what changes in them, and :func:`function` makes a Python function one of the program.
Operations may be reordered and assume finite numbers: look for NaN outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

from llvmlite import ir

FLOAT, DOUBLE, INTEGER = ir.FloatType(), ir.DoubleType(), ir.IntType(64)
_REAL = (FLOAT, DOUBLE)
_FAST = ("fast",)


class _Writing:
    """The function that is being written down, and the module that it belongs to."""

    builder: ir.IRBuilder | None = None
    ends: list[ir.Block] = []
    written: dict[tuple, ir.Function] = {}


def _builder() -> ir.IRBuilder:
    if _Writing.builder is None:
        raise RuntimeError("vectors can be used only while a program is compiled")
    return _Writing.builder


class Value:
    """A number, a truth, or a vector of numbers that the program computes."""

    def __init__(self, value: ir.Value) -> None:
        self.ir = value

    @property
    def type(self) -> ir.Type:
        return self.ir.type

    def __add__(self, other):
        return _arithmetic("add", self, other)

    def __radd__(self, other):
        return _arithmetic("add", other, self)

    def __sub__(self, other):
        return _arithmetic("sub", self, other)

    def __rsub__(self, other):
        return _arithmetic("sub", other, self)

    def __mul__(self, other):
        return _arithmetic("mul", self, other)

    def __rmul__(self, other):
        return _arithmetic("mul", other, self)

    def __truediv__(self, other):
        return _arithmetic("div", self, other)

    def __rtruediv__(self, other):
        return _arithmetic("div", other, self)

    def __floordiv__(self, other):
        """Of integers that are not negative."""
        return _arithmetic("div", self, other)

    def __mod__(self, other):
        return self - self // other * other

    def __neg__(self):
        return 0 - self

    def __and__(self, other):
        return Value(_builder().and_(self.ir, other.ir))

    def __or__(self, other):
        return Value(_builder().or_(self.ir, other.ir))

    def __invert__(self):
        return Value(_builder().not_(self.ir))

    def __lt__(self, other):
        return _comparison("<", self, other)

    def __le__(self, other):
        return _comparison("<=", self, other)

    def __gt__(self, other):
        return _comparison(">", self, other)

    def __ge__(self, other):
        return _comparison(">=", self, other)

    def __eq__(self, other):
        return _comparison("==", self, other)

    def __ne__(self, other):
        return _comparison("!=", self, other)

    __hash__ = None


def _number(kind: ir.Type) -> ir.Type:
    return kind.element if isinstance(kind, ir.VectorType) else kind


def _wide(value: ir.Value, kind: ir.Type) -> ir.Value:
    """A number in all lanes of a vector of this kind."""
    builder, undefined = _builder(), ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None))


def _alike(*values) -> list[ir.Value]:
    """Values and Python's numbers as values of one type: that of the vector among them, or of the first value."""
    values = [value.value if isinstance(value, Variable) else value for value in values]
    kinds = [value.type for value in values if isinstance(value, Value)]
    kind = next((kind for kind in kinds if isinstance(kind, ir.VectorType)), kinds[0])
    result = []
    for value in values:
        if not isinstance(value, Value):
            one = float(value) if _number(kind) in _REAL else int(value)
            lanes = [one] * kind.count if isinstance(kind, ir.VectorType) else one
            result.append(ir.Constant(kind, lanes))
        elif value.type == kind:
            result.append(value.ir)
        else:
            result.append(_wide(value.ir, kind))
    return result


def _arithmetic(name: str, first, second) -> Value:
    a, b = _alike(first, second)
    builder = _builder()
    if _number(a.type) in _REAL:
        return Value(getattr(builder, f"f{name}")(a, b, flags=_FAST))
    return Value(getattr(builder, {"div": "udiv"}.get(name, name))(a, b))


def _comparison(sign: str, first, second) -> Value:
    a, b = _alike(first, second)
    builder = _builder()
    if _number(a.type) in _REAL:
        return Value(builder.fcmp_ordered(sign, a, b))
    return Value(builder.icmp_signed(sign, a, b))


def choose(condition: Value, then, otherwise) -> Value:
    """One of two values; with a vector of truths lane by lane."""
    kind = condition.type
    values = [value.value if isinstance(value, Variable) else value for value in (then, otherwise)]
    if not any(isinstance(value, Value) for value in values):
        values[0] = Value(ir.Constant(FLOAT, float(values[0])))
    a, b = _alike(*values)
    if isinstance(kind, ir.VectorType) and not isinstance(a.type, ir.VectorType):
        a, b = (_wide(value, ir.VectorType(a.type, kind.count)) for value in (a, b))
    return Value(_builder().select(condition.ir, a, b))


def smallest(a, b) -> Value:
    """The smaller one, lane by lane."""
    return choose(a < b, a, b)


def largest(a, b) -> Value:
    """The larger one, lane by lane."""
    return choose(a > b, a, b)


def double(value: Value) -> Value:
    """A number in double precision."""
    return Value(_builder().fpext(value.ir, DOUBLE))


def single(value: Value) -> Value:
    """A number in single precision."""
    return Value(_builder().fptrunc(value.ir, FLOAT))


def whole(value: Value) -> Value:
    """The integer of a number that is not negative, without what is behind its point."""
    return Value(_builder().fptosi(value.ir, INTEGER))


def real(value: Value, kind: ir.Type = FLOAT) -> Value:
    """The number that an integer is."""
    return Value(_builder().sitofp(value.ir, kind))


def _root(value: ir.Value) -> ir.Value:
    builder, kind = _builder(), value.type
    name = f"llvm.sqrt.v{kind.count}f32" if isinstance(kind, ir.VectorType) else "llvm.sqrt.f32"
    function = builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(kind, [kind]), name)
    return builder.call(function, [value], fastmath=_FAST)


def root(value: Value) -> Value:
    """Square root."""
    return Value(_root(value.ir))


def inverse_root(value: Value) -> Value:
    """One over the square root."""
    return 1.0 / Value(_root(value.ir))


def everywhere(truths: Value) -> Value:
    """Whether all lanes are true."""
    lanes = truths.type.count
    bits = _builder().bitcast(truths.ir, ir.IntType(lanes))
    return Value(_builder().icmp_unsigned("==", bits, ir.Constant(bits.type, (1 << lanes) - 1)))


def total(vector: Value) -> Value:
    """Sum of the lanes, pairwise."""
    builder, value = _builder(), vector.ir
    while value.type.count > 1:
        half = value.type.count // 2
        halves = [
            builder.shuffle_vector(value, value, ir.Constant(ir.VectorType(ir.IntType(32), half), list(places)))
            for places in (range(half), range(half, 2 * half))
        ]
        value = builder.fadd(*halves, flags=_FAST)
    return Value(builder.extract_element(value, ir.Constant(ir.IntType(32), 0)))


# -- memory -----------------------------------------------------------------------------------------------------------


class Rows:
    """Where values lie in memory, one after the other: ``rows[3]`` is one, ``rows + 3`` those from there on."""

    def __init__(self, pointer: ir.Value) -> None:
        self.ir = pointer

    @property
    def item(self) -> ir.Type:
        return self.ir.type.pointee

    @property
    def lanes(self) -> int:
        """How wide a row is."""
        return self.item.count

    @property
    def zero(self) -> Value:
        """A value of zeros."""
        wide = isinstance(self.item, ir.VectorType)
        return Value(ir.Constant(self.item, [0.0] * self.lanes if wide else 0.0))

    def __add__(self, number) -> Rows:
        number = number.value if isinstance(number, Variable) else number
        index = number.ir if isinstance(number, Value) else ir.Constant(INTEGER, number)
        return Rows(_builder().gep(self.ir, [index]))

    def __getitem__(self, number) -> Value:
        return Value(_builder().load((self + number).ir, align=self._alignment))

    def __setitem__(self, number, value) -> None:
        example = Value(ir.Constant(self.item, ir.Undefined))
        _builder().store(_alike(example, value)[1], (self + number).ir, align=self._alignment)

    @property
    def _alignment(self) -> int:
        """A row may begin wherever a number may."""
        return 4 if _number(self.item) == FLOAT else 8

    @property
    def numbers(self) -> Rows:
        """The same memory as plain numbers."""
        return Rows(_builder().bitcast(self.ir, FLOAT.as_pointer()))

    @property
    def doubles(self) -> Rows:
        """The same memory as plain numbers in double precision."""
        return Rows(_builder().bitcast(self.ir, DOUBLE.as_pointer()))

    def wide(self, lanes: int) -> Rows:
        """The same memory, of plain numbers, as rows of so many lanes."""
        return Rows(_builder().bitcast(self.ir, ir.VectorType(self.item, lanes).as_pointer()))


def memory(address: Value, item: ir.Type = FLOAT) -> Rows:
    """What lies at an address."""
    return Rows(_builder().inttoptr(address.ir, item.as_pointer()))


class Variable:
    """A value (or rows) that changes while the program runs."""

    def __init__(self, first) -> None:
        self._wrap = type(first)
        with _builder().goto_entry_block():
            self._place = _builder().alloca(first.ir.type)
        self.set(first)

    @property
    def value(self):
        return self._wrap(_builder().load(self._place))

    def set(self, value) -> None:
        _builder().store(value.ir if isinstance(value, Value | Rows) else _alike(self, value)[1], self._place)

    def __iadd__(self, other):
        self.set(self.value + other)
        return self

    def __isub__(self, other):
        self.set(self.value - other)
        return self


# -- the course of a program ------------------------------------------------------------------------------------------


def loop(first, last=None, step: int = 1) -> Iterator[Value]:
    """``for i in loop(n)``: what follows, n times; or as :class:`range` counts, up or down."""
    builder = _builder()
    if last is None:
        first, last = 0, first
    example = Value(ir.Constant(INTEGER, 0))
    _, first, last = _alike(example, first, last)
    before = builder.block
    head, body, end = (builder.append_basic_block() for _ in range(3))
    builder.branch(head)
    builder.position_at_end(head)
    number = builder.phi(INTEGER)
    number.add_incoming(first, before)
    builder.cbranch(builder.icmp_signed("<" if step > 0 else ">", number, last), body, end)
    builder.position_at_end(body)
    _Writing.ends.append(end)
    yield Value(number)
    _Writing.ends.pop()
    number.add_incoming(builder.add(number, ir.Constant(INTEGER, step)), builder.block)
    builder.branch(head)
    builder.position_at_end(end)


def leave(condition: Value) -> None:
    """End the innermost loop if this is true."""
    builder = _builder()
    further = builder.append_basic_block()
    builder.cbranch(condition.ir, _Writing.ends[-1], further)
    builder.position_at_end(further)


@contextmanager
def when(condition) -> Iterator[None]:
    """``with when(condition)``: what follows, if this is true. A Python truth must be true."""
    with _builder().if_then(condition.ir):
        yield


def function(python: Callable) -> Callable:
    """Decorator: a function of the program. Values and rows among its arguments are its own arguments, all else is
    written into it, anew for every other choice."""

    @wraps(python)
    def call(*args):
        builder = _builder()
        args = [arg.value if isinstance(arg, Variable) else arg for arg in args]
        given = [arg for arg in args if isinstance(arg, Value | Rows)]
        key = (python, *(str(arg.ir.type) if isinstance(arg, Value | Rows) else arg for arg in args))
        written = _Writing.written
        if key not in written:
            written[key] = _write(builder.module, python, args)
        result = builder.call(written[key], [arg.ir for arg in given])
        return None if isinstance(result.type, ir.VoidType) else Value(result)

    return call


def _write(module: ir.Module, python: Callable, args: list) -> ir.Function:
    """Write a function into a module."""
    kinds = [arg.ir.type for arg in args if isinstance(arg, Value | Rows)]
    name = module.get_unique_name(python.__name__)
    outer, ends = _Writing.builder, _Writing.ends

    def body(kind: ir.Type, where: ir.Module):
        result = ir.Function(where, ir.FunctionType(kind, kinds), name)
        result.linkage = "internal"
        _Writing.builder, _Writing.ends = ir.IRBuilder(result.append_basic_block("entry")), []
        own = iter(result.args)
        answer = python(*(type(arg)(next(own)) if isinstance(arg, Value | Rows) else arg for arg in args))
        return result, answer

    try:
        result, answer = body(ir.VoidType(), module)
        if answer is None:
            _Writing.builder.ret_void()
        else:
            answer = answer.value if isinstance(answer, Variable) else answer
            _Writing.builder.ret(answer.ir)
            result.ftype.return_type = answer.ir.type
            result.return_value.type = answer.ir.type
    finally:
        _Writing.builder, _Writing.ends = outer, ends
    return result


def program(entries: dict[str, Callable[[Rows], None]]) -> str:
    """LLVM's text of functions of one address, that of int64 arguments; each is written by one of ``entries``."""
    module = ir.Module("program")
    outer = _Writing.builder, _Writing.ends, _Writing.written
    try:
        _Writing.written = {}
        for name, python in entries.items():
            entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [INTEGER]), name)
            _Writing.builder, _Writing.ends = ir.IRBuilder(entry.append_basic_block("entry")), []
            python(memory(Value(entry.args[0]), INTEGER))
            _Writing.builder.ret_void()
    finally:
        _Writing.builder, _Writing.ends, _Writing.written = outer
    return str(module)
