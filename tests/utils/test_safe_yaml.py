"""YAML that would fill the memory or the stack."""

from __future__ import annotations

import resource

import pytest

from utils.errors import InputError
from utils.safe_yaml import DEEPEST, read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(9)
)
MERGED = "a: &a {p: 1}\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)}\n  <<: [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "by repetition"),
        (MERGED, "without merges"),
        ("a: &a\n  b: *a\n", "contains itself"),
        ("a: &a [*a]\n", "contains itself"),
        ("[" * 5000, f"at most {DEEPEST} levels"),
        ("{a: " * 100, f"at most {DEEPEST} levels"),
        ("- 1\n" * 100_001, "at most 100000 values"),
        ("a" * ((1 << 20) + 1), "at most 1 MiB"),
        ("a: [", "not valid YAML"),
        ("a: !!python/object/apply:os.system [echo]", "not valid YAML"),
        ("\x00", "not valid YAML"),
        ("2000-99-99", "not valid YAML"),
    ],
    ids=[
        "aliases",
        "merges",
        "circle",
        "list_circle",
        "deep_lists",
        "deep_maps",
        "values",
        "large",
        "open",
        "code",
        "zero",
        "date",
    ],
)
def test_harmful_texts_are_refused_at_once(tmp_path, text, says):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=says) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # KiB


def test_ordinary_texts_are_read(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: &a [1, 2]\nb: *a\nc: {d: 1e-4, e: '<<'}\n")
    assert read_yaml(path) == {"a": [1, 2], "b": [1, 2], "c": {"d": "1e-4", "e": "<<"}}
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_yaml(path)
    with pytest.raises(InputError, match="found nothing"):
        read_yaml(tmp_path / "none.yaml")
