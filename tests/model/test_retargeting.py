"""What ASRN and DM share: losses of a step, optimisation, tests and predictions. Their figures are in tests/parity."""

import copy

import pytest
import torch
from jsonargparse import Namespace
from pytorch3d.transforms import matrix_to_quaternion, quaternion_to_matrix, standardize_quaternion
from pytorch_lightning import Callback, Trainer

from model.asrn import ASRN
from model.batch import Source, static_features
from model.dm import DM
from model.hands import offset_hand
from model.kinematics import finger_part
from model.losses import AnatomicalLoss
from model.mano import ManoHand
from tests.helpers import DEVICES, SMALL, assert_close, collect_logs, loss_features, pair

METHODS = {"asrn": ASRN, "dm": DM}
ENGINE = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step`", "ignore:.*LeafSpec.*")


@pytest.fixture
def build(mano_models, mano_axes):
    """``build(method, **settings)``: a small network; weights by the seed."""

    def make(method="asrn", seed=0, dtype=torch.float64, **settings):
        torch.manual_seed(seed)
        files = {"smplx_model_path": str(mano_models), "mano_axis_path": str(mano_axes)}
        return METHODS[method](**{**SMALL, **files, **settings}).to(dtype)

    return make


@pytest.fixture(scope="module")
def hands(golden):
    """Reference windows in double precision: mixamo, mano, mixamo_other."""
    return loss_features(golden, torch.float64)


@pytest.fixture(scope="module")
def across(hands):
    return pair(hands["mixamo"], hands["mano"])


@pytest.fixture(scope="module")
def within(hands):
    return pair(hands["mixamo"], hands["mixamo_other"])


def loader(*batches):
    return torch.utils.data.DataLoader(list(batches), batch_size=None)


class TestStep:
    @pytest.mark.parametrize("semi", [True, False])
    @pytest.mark.parametrize("domain", ["mixamo", "mano"])
    @pytest.mark.parametrize("method", ["asrn", "dm"])
    def test_total_is_the_weighted_sum(self, build, across, method, domain, semi):
        names = {"asrn": ("rf", "rp", "semi_rf", "semi_rp"), "dm": ("dm", "semi_dm")}[method]
        lambdas = {f"lambda_{name}": 0.3 + 0.2 * number for number, name in enumerate(names)}
        model = build(method, semi_supervised=semi, lambda_anatomical=0.07, **lambdas)
        logged = collect_logs(model)
        model.training_step(across, 0)
        terms = {
            name.removeprefix(f"train/{domain}_").removesuffix("_loss"): value
            for name, value in logged.items()
            if name.startswith(f"train/{domain}_")
        }
        expected = terms["bs_recon"]
        for prefix in ("", "semi_") if semi else ("",):
            expected += 0.07 * sum(terms[prefix + name] for name in ("twist", "splay", "bend"))
            for name in ("rf", "rp") if method == "asrn" else ("dm",):
                term = terms[f"{prefix}{name}_dir" if method == "asrn" else prefix + name]
                expected += lambdas[f"lambda_{prefix}{name}"] * term
        assert logged[f"train/{domain}_loss"] == pytest.approx(expected, rel=1e-12)
        assert any(name.startswith("semi_") for name in terms) == semi

    def test_validation_always_looks_across(self, build, across):
        model = build(semi_supervised=False)
        logged = collect_logs(model)
        model.validation_step(across, 0)
        assert {"val/mixamo_semi_rf_dir_err", "val/mano_semi_rf_dir_err"} <= set(logged)
        assert not any(name.endswith("_loss") for name in logged)

    def test_the_groups_of_a_batch_may_come_in_either_order(self, build, hands):
        model, values = build(), []
        for batch in (pair(hands["mixamo"], hands["mano"]), pair(hands["mano"], hands["mixamo"])):
            logged = collect_logs(model)
            model.training_step(batch, 0)
            values.append(logged)
        assert values[0] == values[1]

    @pytest.mark.parametrize("method", ["asrn", "dm"])
    def test_mixed_precision_is_for_the_networks_alone(self, build, golden, method, monkeypatch):
        """Few bits in their products, all of them in what rotations, losses and metrics are made of."""
        features = loss_features(golden)
        batch, model = pair(features["mixamo"], features["mano"]), build(method, dtype=torch.float32)
        products, outputs, decode = [], [], type(model).decode
        model.recon_nets[0].res_blocks[0].conv2.register_forward_hook(lambda *given: products.append(given[-1].dtype))
        monkeypatch.setattr(
            type(model), "decode", lambda self, output: outputs.append(output.dtype) or decode(self, output)
        )
        logged = collect_logs(model)
        whole = model.training_step(batch, 0)
        expected = dict(logged)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model.training_step(batch, 0)
            model.test_step(batch, 0)
        assert (
            products[0] == torch.float32 and set(products[1:]) == {torch.bfloat16} and set(outputs) == {torch.float32}
        )
        assert mixed.dtype == torch.float32 and mixed != whole and model.mixed is None
        for name, value in expected.items():
            assert logged[name] == pytest.approx(value, rel=0.02, abs=2e-3), name
        mixed.backward()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)

    def test_networks_get_the_gradient_of_their_own_loss(self, build, across):
        """One backward pass of the sum is as good as two."""
        model = build()
        collect_logs(model)
        model.training_step(across, 0).backward()
        together = [parameter.grad.clone() for parameter in model.parameters()]
        model.zero_grad()
        for own, other in ((across.first, across.second), (across.second, across.first)):
            model.losses(own, Source(own), Source(other))[0].backward()
        for ours, theirs in zip(together, (parameter.grad for parameter in model.parameters()), strict=True):
            assert_close(ours, theirs, 1e-10)

    @pytest.mark.parametrize("pose_repr", ["ortho6d", "quaternion"])
    def test_reconstruction(self, build, hands, pose_repr):
        """Zero at the pose itself, whichever sign its quaternion was stored with."""
        model, source = build(pose_repr=pose_repr), hands["mixamo"]
        flipped = copy.copy(source)
        flipped.rows = source.rows.clone()
        flipped.tbs.neg_()
        perfect = standardize_quaternion(source.tbs)
        if pose_repr == "ortho6d":
            perfect = quaternion_to_matrix(perfect)[..., :2, :].flatten(-2)
        for given in (source, flipped):
            assert model.reconstruction_loss(perfect, Source(given)).item() < 1e-12
            assert model.reconstruction_loss(perfect + 0.5, Source(given)).item() == pytest.approx(0.25, rel=1e-5)

    def test_anatomical_limits(self, build):
        assert build().anatomical_loss == AnatomicalLoss("euler", "asrn", corrected=False)
        corrected = build("dm", anatomical_loss_type="axis", anatomical_limits="corrected").anatomical_loss
        assert corrected == AnatomicalLoss("axis", "dm", corrected=True)

    @pytest.mark.parametrize("device", DEVICES)
    @pytest.mark.parametrize("method", ["asrn", "dm"])
    def test_single_precision_and_devices(self, build, across, method, device):
        values = []
        for dtype, place in ((torch.float64, "cpu"), (torch.float32, device)):
            model = build(method).to(place, dtype)
            logged = collect_logs(model)
            total = model.training_step(pair(*(group.to(place, dtype) for group in (across.first, across.second))), 0)
            total.backward()
            assert total.device.type == place and total.dtype == dtype
            assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
            values.append(logged)
        for name in values[0]:
            assert values[1][name] == pytest.approx(values[0][name], rel=1e-4, abs=1e-6), name


class TestInputs:
    def test_static_features_are_those_of_the_first_frame(self, hands):
        target = copy.copy(hands["mixamo"])
        target.rows = target.rows.clone()
        before = static_features(target)
        offsets = target.offsets[:, 0] / target.offsets[:, 0, 1].norm(dim=-1)[:, None, None]
        assert_close(before[:, :63], offsets.flatten(1), 1e-14)
        assert torch.equal(before[:, 63:], target.axes_t[:, 0].flatten(1))
        target.rows[:, 1:] += 1
        assert torch.equal(static_features(target), before)
        assert torch.equal(static_features(hands["mano"]), hands["mano"].axes_t[:, 0].flatten(1))

    def test_asrn_sees_the_semantic_matrix(self, build, hands):
        seen = build(tbs_input_normalization=False).network_input(Source(hands["mixamo"]))
        parts = [hands["mixamo"].semantic_matrix.finger.flatten(2), hands["mixamo"].semantic_matrix.palm.flatten(2)]
        assert torch.equal(seen, torch.cat(parts, dim=-1))
        seen = build(tbs_input_normalization=True).network_input(Source(hands["mixamo"]))
        lengths = seen.unflatten(-1, (-1, 3)).norm(dim=-1)
        diagonal = torch.eye(20).flatten().bool()
        assert lengths[..., :400][..., diagonal].abs().max() == 0
        assert_close(lengths[..., :400][..., ~diagonal], torch.ones(5, 8, 380), 1e-9)

    def test_dm_sees_distances(self, build, hands):
        seen = build("dm").network_input(Source(hands["mano"]))
        assert_close(seen, hands["mano"].semantic_matrix.finger.norm(dim=-1).flatten(2), 1e-14)

    def test_mano_hands_add_their_shape(self, build, hands):
        """The MANO network is told the shape of the hand it poses, not that of the source."""
        model = build()
        changed = copy.copy(hands["mano"])
        changed.rows = changed.rows.clone()
        changed.shape.add_(1)
        for source in (Source(hands["mixamo"]), Source(hands["mano"])):
            assert (model(changed, source)[0] - model(hands["mano"], source)[0]).abs().max() > 1e-4
        as_source = [model(hands["mixamo"], Source(given))[0] for given in (hands["mano"], changed)]
        assert torch.equal(*as_source)  # there, its shape is not looked at

    def test_several_sources_at_once(self, build, hands):
        model, sources = build(), [Source(hands["mixamo"]), Source(hands["mano"])]
        together = model(hands["mano"], *sources)
        for ours, source in zip(together, sources, strict=True):
            assert ours.shape == (5, 8, 5, 3, 6)
            assert_close(ours, model(hands["mano"], source)[0], 1e-12)

    def test_retargeted_hands_have_the_targets_proportions(self, build, hands):
        model = build()
        mixamo = hands["mixamo"]
        posed = model.retarget(mixamo, hands["mano"])
        expected = offset_hand(mixamo.offsets[:, :1], mixamo.axes[:, :1], "right").with_tbs(posed.tbs)
        assert posed.joints.shape == (5, 8, 21, 3)
        # The features' axes, in single precision, are orthonormal to 1e-7.
        assert_close(posed.joints, expected.joints, 1e-6)
        mano = model.retarget(hands["mano"], hands["mixamo"])
        shaped = model.mano_hand(hands["mano"].shape).with_shape(hands["mano"].shape)
        assert_close(mano.joints, shaped.with_tbs(mano.tbs).joints, 1e-10)


class TestMasks:
    def test_all_is_the_same_as_none(self, build, across):
        values = []
        for masks in ({}, {"rf_mask": list(range(20)), "rp_mask": list(range(9))}):
            model = build(**masks)
            logged = collect_logs(model)
            model.training_step(across, 0)
            values.append(logged)
        assert values[0] == values[1]

    @pytest.mark.parametrize(
        ("name", "mask"), [("rf_mask", [20]), ("rf_mask", []), ("rp_mask", [-1]), ("rp_mask", [9])]
    )
    def test_numbers_that_do_not_exist(self, build, name, mask):
        with pytest.raises(ValueError, match=name):
            build(**{name: mask})

    def test_they_reach_the_losses(self, build, hands):
        """Without weights, a masked term is the mean over the query joints, or the anchors, that are left."""
        mixamo, names = Source(hands["mixamo"]), {"rf_mask": [3, 8, 17], "rp_mask": [4, 8]}
        model = build(distance_weighted=False, **names)
        posed = model.retarget(hands["mixamo"], hands["mano"])
        finger, palm = mixamo.directions.cosines(posed.joints, posed.frames)
        terms = model.semantic_terms(mixamo, posed)
        assert_close(terms["rf_dir"], -finger[..., [3, 8, 17], :].mean(), 1e-12)
        assert_close(terms["rp_dir"], -palm[..., [4, 8]].mean(), 1e-12)

    def test_they_reach_the_metrics(self, build, across):
        values = []
        for masks in ({}, {"rf_mask": [3], "rp_mask": [4]}):
            model = build(**masks)
            logged = collect_logs(model)
            model.test_step(across, 0)
            values.append(logged)
        for part in ("finger", "palm"):
            name = f"test/mano2mixamo_S_{part}"
            assert values[0][name] != pytest.approx(values[1][name], rel=1e-3)


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("pose_repr", "euler"),
            ("anatomical_limits", "none"),
            ("anatomical_loss_type", "angle"),
            ("lr_schedule", "cosine"),
            ("norm_type", "layer"),
            ("kernel_size", 4),
        ],
    )
    @pytest.mark.parametrize("method", ["asrn", "dm"])
    def test_unknown_values_are_named(self, build, method, name, value):
        with pytest.raises(ValueError, match=f"`{name}`.*{value}"):
            build(method, **{name: value})

    def test_left_hands(self, build, monkeypatch, hands):
        sides = []
        load = ManoHand.load
        monkeypatch.setattr(
            ManoHand, "load", lambda *args, **kwargs: (sides.append(args[2]), load(*args, **kwargs))[1]
        )
        build(is_rhand=False).mano_hand(hands["mano"].shape)
        assert sides == ["left"]

    def test_the_hand_model_is_not_in_the_state_dict(self, build, across):
        model = build()
        collect_logs(model)
        before = list(model.state_dict())
        model.training_step(across, 0)
        assert list(model.state_dict()) == before and all(name.startswith("recon_nets.") for name in before)


class TestLoading:
    @pytest.fixture
    def count(self, monkeypatch):
        """Sides of the MANO hands loaded so far."""
        loaded, load = [], ManoHand.load

        def counting(path, axes, side, *args, **kwargs):
            loaded.append(side)
            return load(path, axes, side, *args, **kwargs)

        monkeypatch.setattr(ManoHand, "load", staticmethod(counting))
        return loaded

    def test_the_hand_is_loaded_once(self, build, across, within, count, tmp_path):
        model = build()
        assert count == []
        trainer = Trainer(max_epochs=2, default_root_dir=tmp_path, precision="64-true", **ENGINE)
        trainer.fit(model, loader(across, across), loader(across))
        trainer.test(model, loader(across, across), verbose=False)
        assert count == ["right"]

    def test_a_model_that_was_tested_can_still_be_trained(self, build, across, tmp_path):
        """Tests run in inference mode, and what is made there cannot be trained through; but the hand is kept."""
        model = build()
        settings = {"default_root_dir": tmp_path, "precision": "64-true", **ENGINE}
        Trainer(**settings).test(model, loader(across), verbose=False)
        Trainer(max_steps=1, **settings).fit(model, loader(across))
        assert model.trainer.global_step == 1

    def test_and_not_at_all_where_no_mano_hand_is_posed(self, build, within, count):
        model = build()
        collect_logs(model)
        model.test_step(within, 0)
        model.test_step(within, 1)
        assert count == []


class Rates(Callback):
    """Learning rates that were used."""

    def __init__(self):
        self.rates = []

    def on_before_optimizer_step(self, trainer, model, optimizer):
        self.rates.append([group["lr"] for group in optimizer.param_groups])


def fit(model, folder, batches, **settings):
    callback = Rates()
    trainer = Trainer(
        max_epochs=1, default_root_dir=folder, precision="64-true", callbacks=[callback], **ENGINE, **settings
    )
    trainer.fit(model, loader(*batches))
    return trainer, callback.rates


def two_optimisers(model, batches, clip, lr=1e-4):
    """The published loop: for each network loss, gradient, clipping, step."""
    optimisers = [torch.optim.Adam(net.parameters(), lr=lr) for net in model.recon_nets]
    for batch in batches:
        for number, (own, other) in enumerate(((batch.first, batch.second), (batch.second, batch.first))):
            loss, _ = model.losses(own, Source(own), Source(other))
            optimisers[number].zero_grad()
            loss.backward()
            clip(model.recon_nets[number].parameters())
            optimisers[number].step()
    return model


class TestOptimisation:
    @pytest.mark.parametrize(
        ("settings", "clip"),
        [
            ({}, lambda parameters: None),
            ({"gradient_clip_val": 0.5}, lambda p: torch.nn.utils.clip_grad_norm_(p, 0.5)),
            (
                {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
                lambda p: torch.nn.utils.clip_grad_value_(p, 0.01),
            ),
        ],
    )
    @pytest.mark.parametrize("method", ["asrn", "dm"])
    def test_one_step_for_both_networks_is_two(self, build, across, hands, tmp_path, method, settings, clip):
        shorter = pair(hands["mixamo"][:2], hands["mano"][:2])
        batches = [across, shorter, across, shorter]
        model = build(method)
        fit(model, tmp_path, batches, **settings)
        expected = two_optimisers(build(method), batches, clip)
        start = dict(build(method).named_parameters())
        for (name, ours), theirs in zip(model.named_parameters(), expected.parameters(), strict=True):
            assert_close(ours, theirs, 1e-9)
            assert (theirs - start[name]).abs().max() > 1e-5, name  # it did learn

    def test_clipping_matters(self, build, across, hands, tmp_path):
        """Otherwise the test above could not tell."""
        batches = [across, pair(hands["mixamo"][:2], hands["mano"][:2]), across]
        separate = two_optimisers(build(), batches, lambda p: torch.nn.utils.clip_grad_norm_(p, 0.5))
        none = two_optimisers(build(), batches, lambda p: None)
        weights = [model.recon_nets[0].res_blocks[1].conv1.weight for model in (separate, none)]
        assert (weights[0] - weights[1]).abs().max() > 1e-6

    def test_states_are_in_two_groups(self, build, across, tmp_path):
        trainer, _ = fit(build(), tmp_path, [across])
        state = trainer.optimizers[0].state_dict()
        assert [len(group["params"]) for group in state["param_groups"]] == [40, 40]
        assert len(state["state"]) == 80
        assert set(state["state"][0]) == {"step", "exp_avg", "exp_avg_sq"}

    def test_a_constant_rate(self, build, across, tmp_path):
        trainer, rates = fit(build(), tmp_path, [across] * 3)
        assert rates == [[1e-4, 1e-4]] * 3 and trainer.lr_scheduler_configs == []

    def test_one_cycle(self, build, across, tmp_path):
        """Up to the optimiser's rate and down, once over the whole training."""
        init = {"class_path": "torch.optim.Adam", "init_args": {"lr": 2e-3}}
        _, rates = fit(build(lr_schedule="one_cycle", optim_init=init), tmp_path, [across] * 10)
        dummy = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(dummy, 2e-3, 10)
        expected = []
        for _ in range(10):
            expected.append(dummy.param_groups[0]["lr"])
            dummy.step()
            schedule.step() if len(expected) < 10 else None
        assert [pair_of_rates[0] for pair_of_rates in rates] == pytest.approx(expected, rel=1e-9)
        assert all(one == other for one, other in rates)
        assert max(expected) == pytest.approx(2e-3) and expected[-1] < 1e-6

    @pytest.mark.parametrize("container", [dict, Namespace])
    def test_another_optimiser(self, build, across, tmp_path, container):
        init = container(class_path="torch.optim.SGD", init_args=container(lr=0.25, momentum=0.5))
        given = copy.deepcopy(init)
        trainer, _ = fit(build(optim_init=init), tmp_path, [across])
        (optimizer,) = trainer.optimizers
        assert isinstance(optimizer, torch.optim.SGD)
        assert all((group["lr"], group["momentum"]) == (0.25, 0.5) for group in optimizer.param_groups)
        assert init == given  # the hyper-parameters that are saved stay as given


class TestTest:
    def test_copies_onto_the_same_hand_are_perfect(self, build, hands):
        """Source and target alike: both copies keep everything, and the network does not."""
        model = build()
        collect_logs(model)
        model.on_test_start()
        model.test_step(pair(hands["mixamo"], hands["mixamo"]), 0)
        for method in ("rotation_copy", "tbs_copy"):
            record = model.test_records[method]["intra"]
            # Features are stored in single precision.
            assert_close(record["S_finger"], torch.full((5,), 0.95), 1e-4)
            assert_close(record["S_palm"], torch.ones(5), 1e-4)
            assert record["mixamo_MSE"].max() < 1e-6  # cm²
        assert model.test_records["asrn"]["intra"]["S_finger"].max() < 0.9
        assert model.test_records["asrn"]["intra"]["mixamo_MSE"].min() > 1

    @pytest.mark.parametrize("method", ["asrn", "dm"])
    def test_records_and_logged_figures(self, build, across, within, method):
        model = build(method)
        logged = collect_logs(model)
        model.on_test_start()
        model.test_step(across, 0)
        model.test_step(within, 0)
        assert set(model.test_records) == {"rotation_copy", "tbs_copy", method}
        for record in model.test_records.values():
            assert set(record) == {"mano2mixamo", "mixamo2mano", "intra"}
            for direction, metrics in record.items():
                expected = {"S_finger", "S_palm", "pinch_error", "pinch_pairs", "S_finger_ceiling"}
                assert set(metrics) == expected | ({"mixamo_MSE"} if direction == "intra" else set())
                assert all(values.shape == (5,) for values in metrics.values())
                assert metrics["S_finger_ceiling"].tolist() == pytest.approx([0.95] * 5)
        own = model.test_records[method]
        assert logged["test/mixamo_MSE"] == pytest.approx(own["intra"]["mixamo_MSE"].mean().item())
        for direction in ("mano2mixamo", "mixamo2mano"):
            for part in ("S_finger", "S_palm"):
                assert logged[f"test/{direction}_{part}"] == pytest.approx(own[direction][part].mean().item())

    def test_batches_are_appended_and_a_new_test_begins_anew(self, build, within):
        model = build()
        collect_logs(model)
        for _ in range(2):
            model.on_test_start()
            model.test_step(within, 0)
            model.test_step(within, 1)
            values = model.test_records["asrn"]["intra"]["S_palm"]
            assert values.shape == (10,) and torch.equal(values[:5], values[5:])

    def test_rotation_copy(self, build, hands, within):
        """The source's local rotations on the target's bones."""
        model = build()
        collect_logs(model)
        model.on_test_start()
        model.test_step(within, 0)
        target = offset_hand(hands["mixamo"].offsets, hands["mixamo"].axes, "right")
        own = target.with_local_rotations(finger_part(quaternion_to_matrix(hands["mixamo"].local_rotations)))
        copied = target.with_local_rotations(finger_part(quaternion_to_matrix(hands["mixamo_other"].local_rotations)))
        expected = (copied.joints - own.joints).square().sum(-1).mean((1, 2))
        assert_close(model.test_records["rotation_copy"]["intra"]["mixamo_MSE"], expected, 1e-9)
        copied = target.with_tbs(quaternion_to_matrix(hands["mixamo_other"].tbs))
        expected = (copied.joints - own.joints).square().sum(-1).mean((1, 2))
        assert_close(model.test_records["tbs_copy"]["intra"]["mixamo_MSE"], expected, 1e-9)

    def test_figures_of_an_epoch_are_weighted_by_windows(self, build, hands, across, tmp_path):
        model = build()
        shorter = pair(hands["mixamo"][3:], hands["mano"][3:])
        trainer = Trainer(default_root_dir=tmp_path, precision="64-true", **ENGINE)
        (test,) = trainer.test(model, loader(across, shorter), verbose=False)
        (validation,) = trainer.validate(model, loader(across, shorter), verbose=False)
        alone = []
        for batch in (across, shorter):
            logged = collect_logs(model)
            model.test_step(batch, 0)
            model.validation_step(batch, 0)
            alone.append(logged)
        for name, value in {**test, **validation}.items():
            assert value == pytest.approx((5 * alone[0][name] + 2 * alone[1][name]) / 7, rel=1e-6), name


class TestPredict:
    def test_across(self, build, across, hands):
        model = build()
        predicted = model.predict_step(across, 0)
        assert set(predicted) == {"mano2mixamo", "mixamo2mano"}
        for direction, target, source in (("mano2mixamo", "mixamo", "mano"), ("mixamo2mano", "mano", "mixamo")):
            posed = model.retarget(hands[target], hands[source])
            result = predicted[direction]
            assert result["local_rotations"].shape == (5, 8, 21, 4) and result["tbs"].shape == (5, 8, 5, 3, 4)
            # Axes in single precision are orthonormal to 1e-7, and so is what is turned through them.
            assert_close(quaternion_to_matrix(result["local_rotations"]), posed.local_all, 1e-6)
            assert_close(result["joints"], posed.joints, 1e-12)
            assert (result["tbs"][..., 0] >= 0).all()
            assert_close(result["tbs"], standardize_quaternion(matrix_to_quaternion(posed.tbs)), 1e-12)

    def test_within(self, build, within, hands):
        model = build()
        (direction,) = model.predict_step(within, 0)
        assert direction == "intra"
        joints = model.predict_step(within, 0)["intra"]["joints"]
        assert_close(joints, model.retarget(hands["mixamo"], hands["mixamo_other"]).joints, 1e-12)
