"""What an animator's program is made of: the licence of everything that `run.retarget` imports."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from tests.run.conftest import ROOT

LIST = """
import importlib.metadata as metadata, json, sys
import run.retarget, run.retargeting.film, data.character.reading, data.motion.writing
found = metadata.packages_distributions()
names = {name for module in list(sys.modules) for name in found.get(module.partition(".")[0], ())}
def licence(name):
    about = metadata.metadata(name)
    classifiers = [line for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
    return " ".join([about.get("License-Expression") or (about.get("License") or "")[:300], *classifiers])
print(json.dumps({name: licence(name) for name in sorted(names)}))
"""
FREE = re.compile(
    r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|HPND|Unlicense|Zlib|CC0|MIT-CMU)\b"
)
TOLD_ELSEWHERE = {"easypytorch3d": "BSD (pytorch3d)"}
"""Packages whose own description does not say it."""


def licences() -> dict[str, str]:
    done = subprocess.run([sys.executable, "-c", LIST], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_nothing_that_retargets_is_for_research_only():
    found = licences()
    assert {"torch", "numpy", "scipy"} <= set(found) and len(found) > 10
    assert "smplx" not in found and "chumpy" not in found
    unknown = {name: text for name, text in found.items() if not FREE.search(text) and name not in TOLD_ELSEWHERE}
    assert not unknown, f"expected free licences, found {unknown}"
