import numpy as np
import pytest

from utils import vectors
from utils.compiled import Compiled
from utils.vectors import (
    Variable,
    choose,
    everywhere,
    function,
    inverse_root,
    leave,
    loop,
    memory,
    program,
    total,
    when,
)

LANES = 8


@function
def power(x, exponent):
    result = Variable(x * 0.0 + 1.0)
    for _ in loop(exponent):
        result.set(result.value * x)
    return result.value


def everything(arguments):
    rows, numbers = memory(arguments[0]).wide(LANES), memory(arguments[1])
    x, y = rows[0], rows[1]
    rows[2] = (x + 2.0) * y - x / y
    rows[3] = inverse_root(x * x)
    rows[4] = choose(x < y, x, -1.0)
    rows[5] = power(x, arguments[2])
    numbers[0] = total(x)
    count = Variable(arguments[2])
    for number in loop(100):
        leave(number == 7)
        count += 1
    with when(everywhere(x > 0.0)):
        numbers[1] = 1.0
    with when(everywhere(x > y)):
        numbers[2] = 1.0
    for down in loop(5, -1, -1):
        numbers[down + 3] = numbers[down + 3] + 2.0
    arguments[3] = count.value


@pytest.fixture
def called(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return Compiled("tests", [], lambda: program({"everything": everything}), ["everything"])


def test_what_is_written_down_is_computed(called):
    random = np.random.default_rng(0)
    rows, numbers = random.uniform(1, 2, (6, LANES)).astype(np.float32), np.zeros(9, np.float32)
    x, y = rows[:2].astype(np.float64)
    arguments = np.array([rows.ctypes.data, numbers.ctypes.data, 3, 0])
    called.functions()["everything"](arguments.ctypes.data)
    for row, expected in zip(rows[2:], ((x + 2) * y - x / y, 1 / x, np.where(x < y, x, -1), x**3), strict=True):
        assert np.allclose(row, expected, rtol=1e-5)
    assert np.allclose(numbers, [x.sum(), 1, (x > y).all(), 2, 2, 2, 2, 2, 2], rtol=1e-5)
    assert arguments[3] == 3 + 7


def test_only_while_a_program_is_written():
    with pytest.raises(RuntimeError, match="compiled"):
        vectors._builder()
