"""Training steps on one CUDA device: `python -m benchmarks.gpu`, eager, compiled and as CUDA graphs.

Steps a second of ASRN, DM and the feedback network, with single precision, TF32 and bf16; kernels of a step; and how
often a step has the host wait for the device, which must be never. Batches are those of the golden vectors, 64 windows
of 8 frames of both domains; of the feedback network 256 frames of random poses between their hands. Without a device
it says so.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from pytorch3d.transforms import quaternion_to_matrix
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.training import HAND_FILES, training_batch
from model.asrn import ASRN
from model.dm import DM
from model.feedback.chain import Chain
from model.feedback.module import Feedback, StreamBatch
from model.hands import offset_hand
from utils.files import atomic_write

PRECISIONS = ("32-true", "tf32", "bf16-mixed")
FORMS = ("eager", "compiled", "graph")
FRAMES = 256
WARM_UP, SECONDS = 8, 3.0
_CLIP = {"asrn": 0.5, "dm": 0.5, "feedback": 0.3}


def main() -> None:
    """Measure and print; write JSON."""
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("artifact/gpu.json"), help="figures, as JSON")
    parser.add_argument("--methods", nargs="+", default=["asrn", "dm", "feedback"])
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing to measure")
        return
    rows = []
    print(torch.cuda.get_device_name(), "torch", torch.__version__, flush=True)
    for method in options.methods:
        for precision in PRECISIONS:
            for form in options.forms:
                rows.append(
                    {"method": method, "precision": precision, "form": form, **measured(method, precision, form)}
                )
                print(rows[-1], flush=True)
                with atomic_write(options.results) as temporary:
                    temporary.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def measured(method: str, precision: str, form: str) -> dict:
    """Steps a second, kernels and waits of a step; or why it could not be done."""
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        step = step_of(method, precision, form)
        for _ in range(WARM_UP):
            step()
        torch.cuda.synchronize()
        waits = _waits(step)
        kernels = _kernels(step)
        torch.cuda.synchronize()
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < SECONDS:
            for _ in range(10):
                step()
            torch.cuda.synchronize()
            count += 10
        return {
            "steps_per_second": round(count / (time.perf_counter() - start), 1),
            "kernels": kernels,
            "waits": waits,
            "memory_mb": round(torch.cuda.max_memory_allocated() / 1e6),
        }
    except Exception as error:  # of a form that this version of PyTorch cannot do; the others still count
        return {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
    finally:
        torch._dynamo.reset()
        torch.cuda.empty_cache()


def step_of(method: str, precision: str, form: str) -> Callable[[], object]:
    """A training step: gradient, clipping of each network's, Adam."""
    module = {"asrn": _asrn, "dm": _dm, "feedback": _feedback}[method]().cuda()
    module.log_means = lambda *args, **kwargs: None
    module.log_dict = lambda *args, **kwargs: None
    batch = stream_batch() if method == "feedback" else training_batch("cuda")
    if method != "feedback":
        module.mano_hand(batch.second.rows)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4, fused=True, capturable=True)

    def loss() -> torch.Tensor:
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16-mixed", cache_enabled=False):
            return module.training_step(batch, 0)

    loss_of = torch.compile(loss, fullgraph=True) if form == "compiled" else loss

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of().backward()
        for part in module.trained_parts():
            nn.utils.clip_grad_norm_(part.parameters(), _CLIP[method], foreach=True)
        optimizer.step()

    return _as_graph(step) if form == "graph" else step


def _as_graph(step: Callable[[], None]) -> Callable[[], None]:
    """The whole step as one CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _asrn() -> ASRN:
    return ASRN(distance_weighted=True, lambda_rf_unweighted=0.05, tbs_input_normalization=False, **HAND_FILES)


def _dm() -> DM:
    return DM(anatomical_loss_type="axis", lambda_anatomical=0.01, **HAND_FILES)


def _feedback() -> Feedback:
    return Feedback(**HAND_FILES)


def stream_batch() -> StreamBatch:
    """Hands and poses for the feedback network, on the device."""
    hands = training_batch().first
    rows = Chain.of(offset_hand(hands.offsets[:, 0], hands.axes_t[:, 0].mT, "right")).rows()
    rows = rows.repeat(FRAMES // len(rows), 1)
    tbs = quaternion_to_matrix(hands.tbs).flatten(0, 1)[:FRAMES]
    present = torch.ones(FRAMES, 21, dtype=torch.bool)
    return StreamBatch(*(part.cuda() for part in (rows, rows.roll(7, 0), tbs, present)))


def _waits(step: Callable[[], object]) -> int:
    """How often a step has the host wait."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
        return sum("synchroniz" in str(each.message) for each in caught)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _kernels(step: Callable[[], object]) -> int:
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        step()
        torch.cuda.synchronize()
    return sum(event.count for event in found.key_averages() if event.device_type == torch.autograd.DeviceType.CUDA)


if __name__ == "__main__":
    main()
