"""The data module: lists of characters, splits, protocols, loaders, resuming, and data larger than memory."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from data import mixhand
from data.features.file import writing_features
from data.features.loader import BatchOrder
from data.features.row import channels
from data.features.windows import window_statistics, write_statistics
from data.mixhand import MixHandDataModule, expand_characters
from utils.errors import InputError

ROOT = Path(__file__).parents[2]


def write(folder, name, domain, lengths, side="right", frame_time=None):
    rng = np.random.default_rng(sum(map(ord, name)))
    with writing_features(folder, name, domain, side, "") as writer:
        for number, length in enumerate(lengths):
            rows = rng.normal(size=(length, channels(domain))).astype(np.float32)
            writer.add_clip(f"clip {number}", rows, frame_time)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four Mixamo and three MANO characters; Mixamo has 5 frames per second at each 12th frame."""
    path = tmp_path_factory.mktemp("MixHand")
    write(path, "Aj", "mixamo", (240, 20, 130), frame_time=1 / 60)
    write(path, "Kaya", "mixamo", (300,), frame_time=1 / 60)
    write(path, "Granny", "mixamo", (400,), frame_time=1 / 60)
    write(path, "Robot", "mixamo", (200,), frame_time=1 / 30)
    write(path, "Mano0", "mano", (31, 25), frame_time=0.2)
    write(path, "Mano1", "mano", (18,), frame_time=0.2)
    write(path, "Lefty", "mano", (40,), side="left")
    return path


def module(folder, **options):
    return MixHandDataModule(**{
        "data_path": str(folder),
        "window_size": 4,
        "batch_size": 4,
        "num_workers": 0,
        "train_characters": ["(Aj+Kaya)*2", "Mano0", "Mano1"],
        "val_characters": ["Granny", "Mano1"],
        "test_characters": ["Granny*2", "Mano0"],
        "intra_target": ["Kaya"],
        "intra_source": ["Granny"],
        **options,
    })  # fmt: skip


# -- lists of characters ---------------------------------------------------------------------------------------------


def test_lists_are_written_out():
    entries = ["Aj", "Kaya*2", "(A+ B c )*2", " Mano0 * 1 "]
    assert expand_characters(entries) == ["Aj", "Kaya", "Kaya", "A", "B c", "A", "B c", "Mano0"]


@pytest.mark.parametrize("entry", ["", "*3", "Aj*", "Aj*0", "(Aj+)*2", "(Aj", "()*2", "Aj*x"])
def test_entries_that_make_no_sense(entry):
    with pytest.raises(InputError, match="NAME"):
        expand_characters([entry])


@pytest.mark.parametrize(
    "entry",
    ["Aj*100001", "(A+B)*100000000", "Hand0..999999999", "Hand0..99999*2", "A*" + "9" * 5000, "Hand0.." + "9" * 5000],
)
def test_lists_that_would_fill_the_memory(entry):
    with pytest.raises(InputError, match="at most 100000 characters"):
        expand_characters([entry])


def test_defaults_are_the_published_splits():
    assert expand_characters(mixhand.TRAIN_CHARACTERS) == ["Aj", "BigVegas", "Kaya"] * 9 + [
        f"Mano{n}" for n in range(7)
    ]
    assert expand_characters(mixhand.VAL_CHARACTERS) == ["SportyGranny", "Mano7", "Mano8", "Mano9"]
    assert expand_characters(mixhand.TEST_CHARACTERS) == ["SportyGranny"] * 9 + ["Mano7", "Mano8", "Mano9"]
    assert (mixhand.INTRA_TARGET, mixhand.INTRA_SOURCE) == (["Kaya"], ["SportyGranny"])


def test_options_are_read_and_explained_by_the_command_line(capsys):
    parser = ArgumentParser()
    parser.add_class_arguments(MixHandDataModule, "data")
    config = parser.parse_args(["--data.train_characters", "[Aj*2, Mano0]", "--data.protocol", "intra"])
    assert config.data.train_characters == ["Aj*2", "Mano0"]
    assert config.data.window_size == 8 and config.data.batch_size == 64 and config.data.num_workers == 8
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    text = capsys.readouterr().out
    assert "windows overlap by half" in " ".join(text.split())


@pytest.mark.parametrize("option", ["batch_size", "window_size", "frame_stride"])
def test_numbers_that_make_no_sense(option, tmp_path):
    with pytest.raises(InputError, match=f"`{option}`.*found 0"):
        module(tmp_path, **{option: 0})


def test_unknown_protocol(tmp_path):
    with pytest.raises(InputError, match="cross or intra"):
        module(tmp_path, protocol="across")


# -- splits and protocols --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "splits"), [("fit", ["train", "val"]), ("validate", ["val"]), ("test", ["test"]), ("predict", ["test"])]
)
def test_a_stage_opens_only_what_it_needs(folder, stage, splits):
    data = module(folder)
    data.setup(stage)
    assert [summary.split for summary in data.summary()] == splits


def test_groups_follow_the_domain_in_the_files(folder):
    windows = module(folder, train_characters=["Mano1", "Aj", "Mano0", "Kaya"]).windows("train")
    assert [group.names for group in windows.groups] == [("Aj", "Kaya"), ("Mano1", "Mano0")]
    assert [group.domain for group in windows.groups] == ["mixamo", "mano"]


def test_summary(folder, caplog):
    data = module(folder)
    with caplog.at_level(logging.INFO):
        data.setup("fit")
    train, val = data.summary()
    # Aj keeps 20, 2 and 11 frames, Kaya 25: 9 + 0 + 4 + 11 windows, twice. Mano0 and Mano1: 14 + 11 + 8.
    assert (train.windows, train.frames, train.surplus) == (33, 132, (15, 0))
    assert train.characters == (("Aj", "Kaya"), ("Mano0", "Mano1"))
    assert (val.windows, val.surplus) == (8, (8, 0))
    assert str(val) == "val: 8 windows, 32 frames of each side (Granny with Mano1)"
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("data")]
    assert messages == [
        "1 of 4 clips are shorter than a window and were left out (Aj).",
        "train: 15 of 48 windows of Aj, Kaya have no partner and are not used.",
        "val: 8 of 16 windows of Granny have no partner and are not used.",
    ]


def test_a_file_is_opened_once_for_all_splits(folder):
    data = module(folder)
    data.setup("fit")
    train, val = (data.windows(split).groups[1].files for split in ("train", "val"))
    assert train[1] is val[0]


def test_intra_pairs_target_and_source(folder):
    data = module(folder, protocol="intra")
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    assert (batch.first.domain, batch.second.domain) == ("mixamo", "mixamo")
    assert [group.names for group in data.windows("test").groups] == [("Kaya",), ("Granny",)]
    kaya = np.load(folder / "Kaya.npy", mmap_mode="r")
    assert np.array_equal(batch.first.rows[0], kaya[0:48:12])


def test_intra_wants_mixamo_characters(folder):
    with pytest.raises(InputError, match="`intra_source`.*Mano0"):
        module(folder, protocol="intra", intra_source=["Granny", "Mano0"]).setup("test")


@pytest.mark.parametrize(
    ("characters", "message"),
    [
        (["Aj", "Kaya"], "`train_characters`.*no mano character.*Aj, Kaya"),
        (["Mano0"], "`train_characters`.*no mixamo character.*Mano0"),
        ([], "no mixamo character"),
        (["Aj", "Mano0", "Nobody"], "Nobody.npy.*Aj, Granny, Kaya"),
        (["Aj", "Lefty"], "right hands.*left hands"),
        (["Aj*2, Mano0"], "NAME"),
    ],
)
def test_lists_that_do_not_work(folder, characters, message):
    with pytest.raises(InputError, match=message):
        module(folder, train_characters=characters).setup("fit")


def test_side(folder):
    data = module(folder)
    with pytest.raises(RuntimeError, match="setup"):
        _ = data.side
    data.setup("test")
    assert data.side == "right"


def test_different_frame_rates_are_reported(folder, caplog):
    with caplog.at_level(logging.WARNING):
        module(folder, val_characters=["Robot", "Mano1"]).setup("validate")
    (message,) = [record.getMessage() for record in caplog.records if record.name.startswith("data")]
    assert "Robot run at 2.5 frames per second but Mano1 at 5; `frame_stride` (now 12) changes the rate" in message


def test_normalization(folder, tmp_path):
    for name in ("Granny.npy", "Granny.json", "Mano1.npy", "Mano1.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    data = module(tmp_path, normalization=True)
    with pytest.raises(InputError, match="mean_var"):
        data.setup("validate")
    for file in data._files.values():
        write_statistics(tmp_path, file.character, window_statistics(file, 4))
    data = module(tmp_path, normalization=True)
    rows = next(iter(data.val_dataloader())).second.rows
    raw = next(iter(module(tmp_path).val_dataloader())).second.rows
    mean, deviation = window_statistics(data._files["Mano1"], 4)
    torch.testing.assert_close(rows, (raw - torch.from_numpy(mean)) / torch.from_numpy(deviation))


# -- loaders ---------------------------------------------------------------------------------------------------------


def indices(loader):
    return [batch.index.tolist() for batch in loader]


def test_an_epoch_has_every_window_once_in_a_new_order(folder):
    loader = module(folder).train_dataloader()
    first, second = indices(loader), indices(loader)
    assert len(loader) == len(first) == 9
    assert [len(batch) for batch in first] == [4] * 8 + [1], "the last batch is kept"
    for epoch in (first, second):
        assert sorted(sum(epoch, [])) == list(range(33))
    assert first != second


def test_other_splits_keep_their_order(folder):
    loader = module(folder).val_dataloader()
    assert indices(loader) == indices(loader) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_workers_bring_the_same_batches(folder, monkeypatch):
    monkeypatch.setattr(mixhand, "processors", lambda: 2)
    torch.manual_seed(3)
    alone = module(folder, data_augment=True).train_dataloader()
    torch.manual_seed(3)
    helped = module(folder, data_augment=True, num_workers=5).train_dataloader()
    assert helped.num_workers == 2, "at most one per processor"
    for _ in range(2):
        for ours, theirs in zip(alone, helped, strict=True):
            assert torch.equal(ours.index, theirs.index)
            assert torch.equal(ours.first.rows, theirs.first.rows)
            assert torch.equal(ours.second.semantic_matrix.finger, theirs.second.semantic_matrix.finger)


def test_loaders_leave_the_global_random_numbers_alone(folder):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    indices(module(folder).train_dataloader())
    assert torch.equal(torch.rand(3), expected)


def test_the_order_follows_the_seed(folder):
    orders = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        orders.append(indices(module(folder).train_dataloader()))
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize("shuffle", [True, False])
def test_processes_share_the_windows(shuffle):
    orders = [BatchOrder(34, 5, shuffle, seed=7, rank=rank, world_size=3) for rank in range(3)]
    shares = [np.concatenate([request.indices for request in order]) for order in orders]
    assert sorted(set(np.concatenate(shares).tolist())) == list(range(34))
    assert sum(map(len, shares)) == 34
    assert [len(order) for order in orders] == [len(list(order)) for order in orders]


def test_an_order_starts_at_any_batch():
    order = BatchOrder(34, 5, True, seed=7)
    order.epoch = 4
    whole = [request.indices.tolist() for request in order]
    order.start = 3
    assert [request.indices.tolist() for request in order] == whole[3:]


# -- resuming --------------------------------------------------------------------------------------------------------


class SmallNet(LightningModule):
    """Learns something that depends on the order of the batches and on what is in them."""

    def __init__(self, scheduled=False):
        super().__init__()
        self.scheduled = scheduled
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(60, 3)
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch.index.tolist())
        both = self.layer(batch.first.tbs.flatten(-3)) - self.layer(batch.second.tbs.flatten(-3).flip(-1))
        return both.square().mean() + (both * torch.arange(4)[:, None]).mean()

    def validation_step(self, batch, batch_idx):
        self.log("val", self.layer(batch.second.tbs.flatten(-3)).mean(), batch_size=len(batch))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01)
        if not self.scheduled:
            return optimizer
        # Asks for the loader before the trainer has restored its progress.
        steps = self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class Killed(Exception):
    pass


class KillAfter(Callback):
    """Saves a checkpoint after a number of steps and kills the run."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise Killed


def fit(folder, root, limits, callbacks=(), checkpoint=None, scheduled=False, **options):
    torch.manual_seed(11)
    net = SmallNet(scheduled)
    trainer = Trainer(
        **limits,
        callbacks=list(callbacks),
        default_root_dir=root,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
    )
    torch.manual_seed(11 if checkpoint is None else 12)  # a resumed run takes its seed from the checkpoint
    data = module(folder, batch_size=9, data_augment=True, **options)
    trainer.fit(net, data, ckpt_path=checkpoint)
    return net


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("limits", "options"),
    [
        ({"max_epochs": 3}, {}),
        ({"max_steps": 10, "max_epochs": -1}, {}),
        ({"max_epochs": 3}, {"scheduled": True}),
        ({"max_epochs": 3, "val_check_interval": 2}, {}),
    ],
    ids=["epochs", "steps", "schedule", "validation within an epoch"],
)
def test_a_killed_run_ends_with_the_same_weights(folder, tmp_path, limits, options):
    whole = fit(folder, tmp_path, limits, **options)
    assert len(whole.seen) == 4 * 3 if "max_steps" not in limits else 10
    for step in range(1, len(whole.seen)):
        path = tmp_path / "killed.ckpt"
        with pytest.raises(Killed):
            fit(folder, tmp_path, limits, [KillAfter(step, path)], **options)
        resumed = fit(folder, tmp_path, limits, checkpoint=path, **options)
        assert resumed.seen == whole.seen[step:], f"killed after step {step}"
        for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
            assert torch.equal(ours, theirs), f"killed after step {step}"


@pytest.mark.filterwarnings("ignore")
def test_a_killed_run_with_workers_ends_with_the_same_weights(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(mixhand, "processors", lambda: 2)
    whole = fit(folder, tmp_path, {"max_epochs": 3})
    for step in (3, 4, 6):
        path = tmp_path / "killed.ckpt"
        with pytest.raises(Killed):
            fit(folder, tmp_path, {"max_epochs": 3}, [KillAfter(step, path)], num_workers=2)
        resumed = fit(folder, tmp_path, {"max_epochs": 3}, checkpoint=path, num_workers=2)
        assert resumed.seen == whole.seen[step:]
        assert torch.equal(resumed.layer.weight, whole.layer.weight)


@pytest.mark.filterwarnings("ignore")
def test_a_run_continues_from_the_end_of_an_epoch(folder, tmp_path):
    whole = fit(folder, tmp_path, {"max_epochs": 4})
    fit(folder, tmp_path, {"max_epochs": 2}, [ModelCheckpoint(tmp_path / "ends", filename="end")])
    resumed = fit(folder, tmp_path, {"max_epochs": 4}, checkpoint=tmp_path / "ends" / "end.ckpt")
    assert resumed.seen == whole.seen[8:]
    assert torch.equal(resumed.layer.weight, whole.layer.weight)


# -- larger than memory ----------------------------------------------------------------------------------------------

CAPPED = """
import resource, sys
import numpy as np, torch
from data.mixhand import MixHandDataModule

torch.set_num_threads(1)
def private_memory():
    fields = dict(line.split(":") for line in open("/proc/self/status"))
    return 1024 * int(fields["VmData"].split()[0])

data = MixHandDataModule(
    sys.argv[1], num_workers=0, frame_stride=1, train_characters=["Big*3", "ManoBig"]
)
layer = torch.nn.Linear(60, 1)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
def step(batch):
    loss = layer(batch.first.tbs.flatten(-3)).mean() + layer(batch.second.tbs.flatten(-3)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

step(next(iter(data.train_dataloader())))  # whatever torch allocates at first
cap = private_memory() + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (cap, cap))
try:
    np.load(sys.argv[1] + "/Big.npy")
except MemoryError:
    print("too large to load")
print(sum(step(batch) or len(batch) for batch in data.train_dataloader()))
"""


def write_sparse(folder, name, domain, clips, frames):
    """A feature file of zeros that takes no room on the disk."""
    with writing_features(folder, name, domain, "right", "") as writer:
        writer.add_clip("clip", np.zeros((frames, channels(domain)), np.float32), 0.2)
    path = folder / f"{name}.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (clips * frames, channels(domain))).flush()
    description = json.loads(path.with_suffix(".json").read_text())
    description["clips"] *= clips
    description["checked"] = {"size": path.stat().st_size, "modified_ns": path.stat().st_mtime_ns}
    path.with_suffix(".json").write_text(json.dumps(description))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory cap needs Linux's RLIMIT_DATA")
def test_data_larger_than_memory_is_trained_with(tmp_path):
    clips, frames, cap = 30, 1000, 100 * 2**20  # two files of 250 MB, 100 MB of memory
    write_sparse(tmp_path, "Big", "mixamo", clips, frames)
    write_sparse(tmp_path, "ManoBig", "mano", clips, frames)
    command = [sys.executable, "-c", CAPPED, str(tmp_path), str(cap)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["too large to load", str(clips * (frames // 4 - 1))]


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("Hand08..11", ["Hand08", "Hand09", "Hand10", "Hand11"]),
        ("Mano7..9", ["Mano7", "Mano8", "Mano9"]),
        ("(A0..1+B)*2", ["A0", "A1", "B", "A0", "A1", "B"]),
        ("A1..1*2", ["A1", "A1"]),
    ],
)
def test_ranges_of_characters(entry, names):
    assert expand_characters([entry]) == names


def test_ranges_count_upwards():
    with pytest.raises(InputError, match="smaller number first"):
        expand_characters(["Hand9..3"])
