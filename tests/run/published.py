"""Files as the published runs left them: Lightning 1.7.7's config.yaml and checkpoint, weights by the golden rule."""

import json
import pickle
from pathlib import Path

import numpy as np
import torch

from tests.helpers import write_mano_models

GOLDEN = Path(__file__).resolve().parents[1] / "golden"

CONFIG = """\
# pytorch_lightning==1.7.7
seed_everything: 9923
trainer:
  logger: true
  checkpoint_callback: null
  enable_checkpointing: true
  callbacks:
  - class_path: pytorch_lightning.callbacks.ModelCheckpoint
    init_args:
      dirpath: null
      filename: best_mixamo-epoch={{epoch}}-mixamo_semi_rf={{val/mixamo_semi_{term}:.2f}}
      monitor: val/mixamo_semi_{term}
      verbose: false
      save_last: null
      save_top_k: 1
      save_weights_only: false
      mode: min
      auto_insert_metric_name: false
      every_n_train_steps: null
      train_time_interval: null
      every_n_epochs: null
      save_on_train_epoch_end: null
  - class_path: pytorch_lightning.callbacks.ModelCheckpoint
    init_args:
      dirpath: null
      filename: best_mano-epoch={{epoch}}-mano_semi_rf={{val/mano_semi_{term}:.2f}}
      monitor: val/mano_semi_{term}
      verbose: false
      save_last: null
      save_top_k: 1
      save_weights_only: false
      mode: min
      auto_insert_metric_name: false
      every_n_train_steps: null
      train_time_interval: null
      every_n_epochs: null
      save_on_train_epoch_end: null
  default_root_dir: {root}
  gradient_clip_val: 0.5
  gradient_clip_algorithm: norm
  num_nodes: 1
  num_processes: null
  devices: {devices}
  gpus: {gpus}
  auto_select_gpus: false
  tpu_cores: null
  ipus: null
  enable_progress_bar: true
  overfit_batches: 0.0
  track_grad_norm: -1
  check_val_every_n_epoch: 1
  fast_dev_run: false
  accumulate_grad_batches: null
  max_epochs: 100
  min_epochs: null
  max_steps: -1
  min_steps: null
  max_time: null
  limit_train_batches: null
  limit_val_batches: null
  limit_test_batches: null
  limit_predict_batches: null
  val_check_interval: null
  log_every_n_steps: 10
  accelerator: {accelerator}
  strategy: null
  sync_batchnorm: false
  precision: 32
  enable_model_summary: true
  weights_save_path: null
  num_sanity_val_steps: 2
  resume_from_checkpoint: null
  profiler: null
  benchmark: null
  deterministic: null
  reload_dataloaders_every_n_epochs: 0
  auto_lr_find: false
  replace_sampler_ddp: true
  detect_anomaly: false
  auto_scale_batch_size: false
  plugins: null
  amp_backend: native
  amp_level: null
  move_metrics_to_cpu: false
  multiple_trainloader_mode: max_size_cycle
model:
  hidden_channel: 256
  kernel_size: 3
  n_layers: 4
  static_hidden_channel: 128
  n_static_layers: 2
  norm_type: none
  pose_repr: ortho6d
  smplx_model_path: /home/author/semantics/artifact/smplx/models
  mano_axis_path: /home/author/semantics/artifact/MixHand/finger_data/mano_finger_axis.pkl
  is_rhand: true
  semi_supervised: true
{model}
data:
  data_path: artifact/MixHand
  data_augment: false
  window_size: 8
  normalization: false
  batch_size: 64
  num_workers: 8
optim:
  class_path: torch.optim.Adam
  init_args:
    lr: 0.0001
    betas:
    - 0.9
    - 0.999
    eps: 1.0e-08
    weight_decay: 0.0
    amsgrad: false
    foreach: null
    maximize: false
    capturable: false
ckpt_path: null
"""

MODEL = {
    "asrn": """\
  rf_mask: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
  rp_mask: [0, 1, 2, 3, 4, 5, 6, 7, 8]
  distance_weighted: true
  lambda_rf_unweighted: 0.05
  lambda_rf: 1.0
  lambda_rp: 1.0
  lambda_semi_rf: 1.0
  lambda_semi_rp: 1.0
  anatomical_loss_type: euler
  lambda_anatomical: 0.1
  tbs_input_normalization: false""",
    "dm": """\
  lambda_dm: 1.0
  lambda_semi_dm: 1.0
  anatomical_loss_type: axis
  lambda_anatomical: 0.01""",
}
HYPER_PARAMETERS = {
    "hidden_channel": 256, "kernel_size": 3, "n_layers": 4, "static_hidden_channel": 128, "n_static_layers": 2,
    "norm_type": "none", "pose_repr": "ortho6d", "smplx_model_path": "/home/author/artifact/smplx/models",
    "mano_axis_path": "/home/author/artifact/MixHand/finger_data/mano_finger_axis.pkl", "is_rhand": True,
    "semi_supervised": True,
    "optim_init": {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-4, "betas": [0.9, 0.999]}},
}  # fmt: skip
OWN_HYPER_PARAMETERS = {
    "asrn": {
        "anatomical_loss_type": "euler", "lambda_anatomical": 0.1, "rf_mask": list(range(20)),
        "rp_mask": list(range(9)), "distance_weighted": True, "lambda_rf_unweighted": 0.05, "lambda_rf": 1.0,
        "lambda_rp": 1.0, "lambda_semi_rf": 1.0, "lambda_semi_rp": 1.0, "tbs_input_normalization": False,
    },
    "dm": {"anatomical_loss_type": "axis", "lambda_anatomical": 0.01, "lambda_dm": 1.0, "lambda_semi_dm": 1.0},
}  # fmt: skip
MANIFEST = {"asrn": "tbs_ortho6d", "dm": "dm_ortho6d"}
FULL = {"asrn": "tbs_full", "dm": "dm_full"}
TERM = {"asrn": "rf_dir_err", "dm": "dm_err"}


def config_text(method: str, *, root="artifact/ASRN", accelerator="gpu", devices="1", gpus="null") -> str:
    """The published config.yaml of a method."""
    return CONFIG.format(
        model=MODEL[method], term=TERM[method], root=root, accelerator=accelerator, devices=devices, gpus=gpus
    )


def golden_weights(method: str) -> dict[str, torch.Tensor]:
    """Weights of the published width by the golden rule, under every published name, shared tensors shared."""
    manifest = json.loads((GOLDEN / "state_dict_manifest.json").read_text())[MANIFEST[method]]
    seed = int(np.load(GOLDEN / "losses" / f"{FULL[method]}.npz")["weight_seed"])
    random = np.random.RandomState(seed)
    unique = {}
    for name, shape in sorted(manifest["parameters_in_order"]):
        scale = 1 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.02
        unique[name] = torch.from_numpy((random.standard_normal(shape) * scale).astype(np.float32))
    for group in manifest["shared_tensors"]:
        value = next(unique[name] for name in group if name in unique)
        unique.update(dict.fromkeys(group, value))
    return {name: unique[name] for name, _, _ in manifest["state_dict"]}


def checkpoint(method: str, epoch: int = 58, steps_per_epoch: int = 3) -> dict:
    """A checkpoint as Lightning 1.7.7 wrote it: two optimisers, whose steps were both present."""
    manifest = json.loads((GOLDEN / "state_dict_manifest.json").read_text())[MANIFEST[method]]
    weights = golden_weights(method)
    steps = (epoch + 1) * steps_per_epoch
    optimizers = []
    for net, names in enumerate(manifest["optimizer_parameter_order"]):
        state = {
            i: {
                "step": torch.tensor(float(steps)),
                "exp_avg": torch.full_like(weights[f"recon_nets.{net}.{name}"], 1e-3 * (net + 1)),
                "exp_avg_sq": torch.full_like(weights[f"recon_nets.{net}.{name}"], 1e-6 * (i + 1)),
            }
            for i, name in enumerate(names)
        }
        group = {
            "lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False, "foreach": None,
            "maximize": False, "capturable": False, "params": list(range(len(names))),
        }  # fmt: skip
        optimizers.append({"state": state, "param_groups": [group]})
    key = (
        f"ModelCheckpoint{{'monitor': 'val/mixamo_semi_{TERM[method]}', 'mode': 'min', 'every_n_train_steps': 0, "
        "'every_n_epochs': 1, 'train_time_interval': None}"
    )
    file = f"/home/author/artifact/lightning_logs/version_0/checkpoints/best_mixamo-epoch={epoch}.ckpt"
    callback = {
        "monitor": f"val/mixamo_semi_{TERM[method]}", "best_model_score": torch.tensor(-1.8), "best_model_path": file,
        "current_score": torch.tensor(-1.8), "dirpath": str(Path(file).parent),
        "best_k_models": {file: torch.tensor(-1.8)}, "kth_best_model_path": file, "kth_value": torch.tensor(-1.8),
        "last_model_path": "",
    }  # fmt: skip
    return {
        "epoch": epoch,
        "global_step": 2 * steps,
        "pytorch-lightning_version": "1.7.7",
        "state_dict": weights,
        "loops": _loops(epoch, steps, steps_per_epoch),
        "callbacks": {key: callback},
        "optimizer_states": optimizers,
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {**HYPER_PARAMETERS, **OWN_HYPER_PARAMETERS[method]},
    }


def _progress(count: int, completed: int) -> dict:
    return {"ready": count, "completed": completed, "started": count, "processed": count}


def _loops(epoch: int, steps: int, per_epoch: int) -> dict:
    optimizer = {"total": {"ready": 2 * steps, "completed": 2 * steps}, "current": {"ready": 2 * per_epoch}}
    evaluation = {
        "state_dict": {},
        "dataloader_progress": {"total": {"ready": 1, "completed": 1}, "current": {"ready": 1, "completed": 1}},
        "epoch_loop.state_dict": {},
        "epoch_loop.batch_progress": {
            "total": _progress(per_epoch, per_epoch), "current": _progress(per_epoch, per_epoch),
            "is_last_batch": True,
        },
    }  # fmt: skip
    fit = {
        "state_dict": {},
        "epoch_loop.state_dict": {"_batches_that_stepped": steps},
        "epoch_loop.batch_progress": {
            "total": _progress(steps, steps), "current": _progress(per_epoch, per_epoch), "is_last_batch": True,
        },
        "epoch_loop.scheduler_progress": {"total": {"ready": 0, "completed": 0}, "current": {"ready": 0}},
        "epoch_loop.batch_loop.state_dict": {},
        "epoch_loop.batch_loop.optimizer_loop.state_dict": {},
        "epoch_loop.batch_loop.optimizer_loop.optim_progress": {
            "optimizer": {"step": optimizer, "zero_grad": optimizer}, "optimizer_position": 2,
        },
        "epoch_loop.batch_loop.manual_loop.state_dict": {},
        "epoch_loop.val_loop.state_dict": {},
        "epoch_progress": {"total": _progress(epoch + 1, epoch), "current": _progress(epoch + 1, epoch)},
    }  # fmt: skip
    return {"fit_loop": fit, "validate_loop": evaluation, "test_loop": evaluation, "predict_loop": evaluation}


def _object_array(clips: list[np.ndarray]) -> np.ndarray:
    array = np.empty(len(clips), dtype=object)
    for i, clip in enumerate(clips):
        array[i] = clip
    return array


def write_clips(path: Path, windows: np.ndarray, repeat: int, too_short: bool = False) -> None:
    """A published feature file whose windows are `windows` (N, channels, T): one clip each, frames repeated."""
    clips = [np.repeat(window.T, repeat, axis=0).astype(np.float32) for window in windows]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, _object_array([clip[:4] for clip in clips] if too_short else clips), allow_pickle=True)


def write_data(folder: Path, granny: str) -> None:
    """A MixHand folder whose published splits give the golden batch: across domains if `granny` is "mixamo" (that
    character is then the golden Mixamo item), within Mixamo if it is "mixamo_other"."""
    batch = np.load(GOLDEN / "losses" / "batch.npz")
    write_clips(folder / "SportyGranny.npy", batch[granny], 12)
    for name in ("Aj", "BigVegas", "Kaya"):
        write_clips(folder / f"{name}.npy", batch["mixamo"], 12)
    for number in range(10):
        write_clips(folder / f"Mano{number}.npy", batch["mano"], 1, too_short=number in (8, 9))
    axes = np.load(GOLDEN / "inputs" / "mano_finger_axis.npz")
    finger_data = folder / "finger_data"
    finger_data.mkdir(exist_ok=True)
    with open(finger_data / "mano_finger_axis.pkl", "wb") as file:
        pickle.dump({name: axes[name] for name in axes}, file)


def write_world(folder: Path, granny: str = "mixamo") -> Path:
    """Everything a published run expects in its working folder; returns that folder."""
    write_data(folder / "artifact" / "MixHand", granny)
    write_mano_models(GOLDEN / "inputs", folder / "artifact" / "smplx" / "models")
    return folder
