"""What an animator's program is made of: the licence of everything that `run.retarget` imports."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from tests.run.conftest import ROOT

LIST = """
import ast, importlib.metadata as metadata, json, sys
import run.retarget, run.retargeting.film, data.character.reading, data.motion.writing
OURS = ("data", "model", "run", "utils", "semantics2hands")
tops = {module.partition(".")[0] for module in list(sys.modules)}
for name, module in list(sys.modules.items()):  # what our functions import only once they are called
    if name.partition(".")[0] in OURS and getattr(module, "__file__", None):
        for node in ast.walk(ast.parse(open(module.__file__, encoding="utf-8").read())):
            if isinstance(node, ast.Import):
                tops.update(alias.name.partition(".")[0] for alias in node.names)
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                tops.add(node.module.partition(".")[0])
found = metadata.packages_distributions()
names = {name for top in tops for name in found.get(top, ())}
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
