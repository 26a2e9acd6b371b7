"""One motion file onto one character: `python examples/retarget_a_file.py [MOTION TARGET OUTPUT]`.

MOTION and TARGET may be any of the files that the README names. Without arguments: a clip and a character of the
project's own tests.
"""

import sys
from pathlib import Path

import semantics2hands as s2h

SAMPLES = Path(__file__).parents[1] / "tests" / "golden"
DEFAULTS = [
    SAMPLES / "bvh" / "mixamo_clip_a.bvh",
    SAMPLES / "inputs" / "Kaya_mesh_data.npz",
    "artifact/retargeted.bvh",
]

motion, target, output = sys.argv[1:4] if len(sys.argv) > 3 else map(str, DEFAULTS)
try:
    # The same words as on the command line of `python -m run.retarget`; the reports come back.
    reports = s2h.retarget([motion, "--target", target, "--output", output, "--report"])
except s2h.InputError as error:
    sys.exit(f"error: {error}")  # says the file, what was expected, what was found, and what to do

for report in reports:
    for side, hand in report["hands"].items():
        print(f"{report['motion']}, {side} hand: {hand}")
    print("written:", *report["files"])
