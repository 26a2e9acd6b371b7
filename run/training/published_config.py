"""Configurations written by Lightning 1.x, read by Lightning 2.

The published runs keep a `config.yaml` that Lightning 1.7.7 dumped: every trainer argument of that release, many of
which no longer exist, explicit nulls where today's arguments have none, and absolute paths of the machine that
trained. `translate` turns the parsed mapping into one that today's parser accepts and says what it did, a line a kind.
"""

import importlib
import inspect
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Trainer

from utils.errors import InputError
from utils.safe_yaml import read_yaml

# Trainer arguments of Lightning 1.0 to 1.9 that Lightning 2 does not have.
REMOVED_TRAINER_KEYS = frozenset({
    "accelerator_connector", "amp_backend", "amp_level", "auto_lr_find", "auto_scale_batch_size",
    "auto_select_gpus", "checkpoint_callback", "distributed_backend", "flush_logs_every_n_steps", "gpus",
    "ipus", "log_gpu_memory", "move_metrics_to_cpu", "multiple_trainloader_mode", "num_processes",
    "prepare_data_per_node", "process_position", "progress_bar_refresh_rate", "reload_dataloaders_every_epoch",
    "replace_sampler_ddp", "resume_from_checkpoint", "stochastic_weight_avg", "terminate_on_nan", "tpu_cores",
    "track_grad_norm", "truncated_bptt_steps", "weights_save_path", "weights_summary",
})  # fmt: skip
# Strategies of Lightning 1.x and what is nearest to them today.
REMOVED_STRATEGIES = {
    "dp": "ddp", "ddp2": "ddp", "ddp_cpu": "ddp", "ddp_sharded": "ddp", "ddp_sharded_spawn": "ddp_spawn",
    "ddp_fully_sharded": "ddp", "fsdp_native": "fsdp", "horovod": "auto", "bagua": "auto", "collaborative": "auto",
    "hivemind": "auto", "hpu_parallel": "auto", "hpu_single": "auto", "ipu_strategy": "auto", "single_tpu": "auto",
    "tpu_spawn": "auto",
}  # fmt: skip
# Keys a sub-command adds to its own dump; a configuration is shared by all sub-commands without them.
SUBCOMMAND_KEYS = ("ckpt_path", "weights_only", "verbose", "return_predictions", "config", "subcommand")
# Paths of the machine that trained; a default exists for each.
MACHINE_PATHS = (("model", "smplx_model_path"), ("model", "mano_axis_path"), ("data", "data_path"))

_VERSION_LINE = re.compile(r"^#\s*pytorch_lightning==(\d+)\.")


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-4 is a number, as in YAML 1.2 (PyYAML alone reads it as text)."""


_Loader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


@dataclass
class Translation:
    """A configuration that Lightning 2 accepts, and the lines that tell the user what was changed."""

    config: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    changed: bool = False

    def say(self, line: str) -> None:
        """Add one line for the user and remember that the mapping differs from the file."""
        self.notes.append(line)
        self.changed = True


def read_config(path: str | Path) -> tuple[dict[str, Any], bool]:
    """Read a YAML configuration -> (mapping, whether Lightning 1.x wrote it).

    Raises InputError if the file is missing, is not YAML, is not a mapping, or does harm (see `utils.safe_yaml`).
    """
    path = Path(path)
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"configuration {path} {found}; give an existing file to --config")
    config = read_yaml(path, _Loader, "a configuration")
    if config is None:
        config = {}
    if not isinstance(config, dict):
        raise InputError(
            f"configuration {path}: expected a mapping of groups (trainer, model, data, optim), "
            f"found {type(config).__name__}; see config/ASRN.yaml"
        )
    with path.open(encoding="utf-8") as file:
        version = _VERSION_LINE.match(file.readline(200))
    trainer = config.get("trainer")
    old = (version is not None and int(version[1]) < 2) or (
        isinstance(trainer, dict) and not REMOVED_TRAINER_KEYS.isdisjoint(trainer)
    )
    return config, old


def translate(config: dict[str, Any], old: bool, source: str = "configuration") -> Translation:
    """Make a configuration fit today's parser.

    `old` says that Lightning 1.x wrote it: only then are removed keys, nulls, paths and strategies touched; the
    `optim` group is brought to {class_path, init_args} in any case. The mapping given is left as it is.
    """
    result = Translation({key: _copy(value) for key, value in config.items()})
    _translate_optimizer(result)
    if not old:
        return result
    result.changed = True
    for key in SUBCOMMAND_KEYS:
        if key != "ckpt_path" or result.config.get(key) is None:
            result.config.pop(key, None)
    if "lr_scheduler" in result.config and result.config.pop("lr_scheduler"):
        result.say(f"{source}: lr_scheduler was without effect (the model makes its own optimisers) and is dropped")
    trainer = result.config.get("trainer")
    if isinstance(trainer, dict):
        _translate_trainer(result, trainer, source)
    _drop_dead_paths(result, source)
    return result


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value


def _translate_optimizer(result: Translation) -> None:
    """`optim` as {class_path, init_args}; a flat group is Adam's, an explicit model.optim_init is the same thing."""
    model = result.config.get("model")
    if isinstance(model, dict) and "optim_init" in model:
        linked = model.pop("optim_init")
        if linked and not result.config.get("optim"):
            result.config["optim"] = linked
        result.changed = True
    optim = result.config.get("optim")
    if isinstance(optim, dict) and optim and "class_path" not in optim and "init_args" not in optim:
        result.config["optim"] = {"class_path": "torch.optim.Adam", "init_args": optim}
        result.changed = True


def _translate_trainer(result: Translation, trainer: dict[str, Any], source: str) -> None:
    translated: list[str] = []
    _translate_devices(trainer, translated)
    _translate_renamed(result, trainer, translated)
    _translate_plugged_in(trainer, translated)
    dropped = sorted(REMOVED_TRAINER_KEYS.intersection(trainer))
    for key in dropped:
        del trainer[key]
    for key, parameter in inspect.signature(Trainer.__init__).parameters.items():
        if key in trainer and trainer[key] is None and not _accepts_none(parameter.annotation):
            del trainer[key]  # null meant "the default" and no longer may be written
    if dropped:
        result.say(f"{source}: trainer keys that Lightning 2 does not have are dropped: {', '.join(dropped)}")
    if translated:
        result.say(f"{source}: translated {'; '.join(translated)}")


def _accepts_none(annotation: Any) -> bool:
    return type(None) in getattr(annotation, "__args__", ()) or annotation is inspect.Parameter.empty


def _translate_devices(trainer: dict[str, Any], translated: list[str]) -> None:
    """gpus, num_processes and the strategies that were once accelerators -> accelerator, devices, strategy."""
    accelerator, gpus = trainer.get("accelerator"), trainer.get("gpus")
    if isinstance(accelerator, str) and (accelerator in REMOVED_STRATEGIES or accelerator.startswith("ddp")):
        trainer.setdefault("strategy", accelerator)
        trainer["strategy"] = trainer["strategy"] or accelerator
        trainer["accelerator"] = None
        translated.append(f"accelerator={accelerator} -> strategy={trainer['strategy']}")
    if gpus is not None and trainer.get("devices") is None:
        on_gpu = gpus not in (0, "0", [], "")
        trainer["accelerator"] = trainer.get("accelerator") or ("gpu" if on_gpu else "cpu")
        trainer["devices"] = gpus if on_gpu else 1
        translated.append(f"gpus={gpus} -> accelerator={trainer['accelerator']}, devices={trainer['devices']}")
    processes = trainer.get("num_processes")
    if processes not in (None, 1) and trainer.get("devices") is None:
        trainer["devices"] = processes
        trainer["accelerator"] = trainer.get("accelerator") or "cpu"
        translated.append(f"num_processes={processes} -> devices={processes}")
    strategy = trainer.get("strategy")
    if isinstance(strategy, str) and strategy in REMOVED_STRATEGIES:
        trainer["strategy"] = REMOVED_STRATEGIES[strategy]
        translated.append(f"strategy={strategy} -> {trainer['strategy']}")


def _translate_renamed(result: Translation, trainer: dict[str, Any], translated: list[str]) -> None:
    """Keys that have a successor under another name, and precisions under another spelling."""

    def move(old_key: str, new_key: str, value: Any) -> None:
        if trainer.get(new_key) is None:
            trainer[new_key] = value
            translated.append(f"{old_key}={trainer[old_key]} -> {new_key}={value}")

    if isinstance(trainer.get("replace_sampler_ddp"), bool):
        move("replace_sampler_ddp", "use_distributed_sampler", trainer["replace_sampler_ddp"])
    if isinstance(trainer.get("checkpoint_callback"), bool):
        move("checkpoint_callback", "enable_checkpointing", trainer["checkpoint_callback"])
    if trainer.get("progress_bar_refresh_rate") == 0:
        move("progress_bar_refresh_rate", "enable_progress_bar", False)
    if trainer.get("terminate_on_nan"):
        move("terminate_on_nan", "detect_anomaly", True)
    if trainer.get("reload_dataloaders_every_epoch"):
        move("reload_dataloaders_every_epoch", "reload_dataloaders_every_n_epochs", 1)
    precision = {"16": "16-mixed", "bf16": "bf16-mixed"}.get(str(trainer.get("precision")))
    if precision:
        translated.append(f"precision={trainer['precision']} -> {precision}")
        trainer["precision"] = precision
    resume = trainer.get("resume_from_checkpoint")
    if resume and not result.config.get("ckpt_path"):
        result.config["ckpt_path"] = resume
        translated.append(f"resume_from_checkpoint -> ckpt_path={resume}")


def _translate_plugged_in(trainer: dict[str, Any], translated: list[str]) -> None:
    """Callbacks and loggers: drop classes and arguments that no longer exist, and folders that are not here."""
    for key in ("callbacks", "logger"):
        given = trainer.get(key)
        entries = given if isinstance(given, list) else [given]
        kept = []
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("class_path"), str):
                kept.append(entry)
                continue
            name = entry["class_path"].rsplit(".", 1)[-1]
            cls = _find_class(entry["class_path"])
            if cls is None and entry["class_path"].startswith("pytorch_lightning."):
                translated.append(f"{key}: {name} no longer exists -> dropped")
                continue
            if cls is not None:
                _drop_arguments(entry, cls, f"{key}: {name}", translated)
            kept.append(entry)
        if isinstance(given, list):
            trainer[key] = kept
        elif kept != entries:
            trainer[key] = None if key == "callbacks" else True


def _find_class(class_path: str) -> type | None:
    """The class of a dotted path, only of Lightning itself; None if it is elsewhere or gone."""
    module, _, name = class_path.rpartition(".")
    if not module.startswith("pytorch_lightning"):
        return None
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    return found if isinstance(found, type) else None


def _drop_arguments(entry: dict[str, Any], cls: type, label: str, translated: list[str]) -> None:
    arguments = entry.get("init_args")
    if not isinstance(arguments, dict):
        return
    known = inspect.signature(cls.__init__).parameters
    unknown = [name for name in arguments if name not in known]
    for name in unknown:
        del arguments[name]
    if unknown:
        translated.append(f"{label}: arguments that no longer exist are dropped: {', '.join(unknown)}")
    for name in ("dirpath", "save_dir"):
        folder = arguments.get(name)
        if isinstance(folder, str) and _is_foreign(folder):
            translated.append(f"{label}: {name} {folder} is not on this machine -> default")
            if name == "dirpath":
                arguments[name] = None
            else:
                arguments[name] = "."


def _is_foreign(path: str) -> bool:
    """Whether an absolute path belongs to another machine: neither it nor its parent is here."""
    given = Path(path).expanduser()
    return given.is_absolute() and not given.exists() and not given.parent.exists()


def _drop_dead_paths(result: Translation, source: str) -> None:
    fallen = []
    for group, key in MACHINE_PATHS:
        values = result.config.get(group)
        path = values.get(key) if isinstance(values, dict) else None
        if isinstance(path, str) and Path(path).is_absolute() and not Path(path).exists():
            del values[key]
            fallen.append(f"{group}.{key} ({path})")
    trainer = result.config.get("trainer")
    root = trainer.get("default_root_dir") if isinstance(trainer, dict) else None
    if isinstance(root, str) and _is_foreign(root):
        del trainer["default_root_dir"]
        fallen.append(f"trainer.default_root_dir ({root})")
    if fallen:
        result.say(f"{source}: not on this machine, the default is used instead: {', '.join(fallen)}")
