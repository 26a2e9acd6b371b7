import pytest
import torch
from torch.nn import functional as F

from model.reconstruction import SLOPE, OneWindow, ReconstructionNet
from tests.helpers import DEVICES, assert_close

NORMS = ("none", "batch", "instance")


def build(seed=0, dtype=torch.float64, **settings):
    torch.manual_seed(seed)
    defaults = {"hidden_channel": 12, "static_hidden_channel": 5, "in_channels": 17, "static_channels": 9}
    return ReconstructionNet(**{**defaults, "out_channels": 14, **settings}).to(dtype)


def plain(net, x, static):
    """The network as mathematics §6 has it: the code is repeated over time and appended to the channels.

    ``x (B, T, C)``; every layer is applied by its published name.
    """
    x = x.mT
    for block, static_block in zip(net.res_blocks, net.static_blocks, strict=True):
        code = static_block.net(static[:, :, None]).expand(-1, -1, x.shape[-1])
        whole = torch.cat([x, code], dim=1)
        inside = block.net(whole)
        shortcut = whole if block.resample is None else block.resample(whole)
        x = F.leaky_relu(inside + shortcut, SLOPE)
    return x.mT


@pytest.mark.parametrize("norm_type", NORMS)
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("frames", [1, 2, 8, 20])
def test_equals_the_plain_network(frames, kernel_size, norm_type):
    """Output and all gradients, at any window length, also shorter than the kernel."""
    if norm_type == "instance":
        frames += 1  # a single frame has no deviation to divide by
    net = build(kernel_size=kernel_size, norm_type=norm_type)
    x, static = torch.randn(3, frames, 17, dtype=torch.float64), torch.randn(3, 9, dtype=torch.float64)
    weights = torch.randn(3, frames, 14, dtype=torch.float64)
    gradients = []
    for function in (lambda: net(x, static), lambda: plain(net, x, static)):
        net.zero_grad()
        output = function()
        (output * weights).sum().backward()
        gradients.append([output.detach(), *(parameter.grad.clone() for parameter in net.parameters())])
    assert gradients[0][0].shape == (3, frames, 14)
    # One scale for all: a normalised layer's bias has no gradient but rounding.
    scale = max(gradient.abs().max() for gradient in gradients[1])
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours - theirs).abs().max() <= 1e-12 * scale


def test_no_shortcut_where_the_width_stays():
    """17 moving and 5 static channels make 22: the first layer's shortcut is its input."""
    net = build(hidden_channel=22, n_layers=3)
    assert [block.resample is None for block in net.res_blocks] == [True, False, False]
    x, static = torch.randn(2, 4, 17, dtype=torch.float64), torch.randn(2, 9, dtype=torch.float64)
    assert_close(net(x, static), plain(net, x, static), 1e-12)


@pytest.mark.parametrize("batch", [1, 3])
def test_items_do_not_mix(batch):
    net = build()
    x, static = torch.randn(batch, 8, 17, dtype=torch.float64), torch.randn(batch, 9, dtype=torch.float64)
    alone = [net(x[n : n + 1], static[n : n + 1]) for n in range(batch)]
    assert_close(net(x, static), torch.cat(alone), 1e-12)


def test_activation_after_the_last_layer():
    """Leaky: negative outputs are a fifth of what they were."""
    net = build(n_layers=1)
    x, static = torch.randn(2, 4, 17, dtype=torch.float64), torch.randn(2, 9, dtype=torch.float64)
    before = net.res_blocks[0](x.mT, net.static_blocks[0](static)).mT
    assert (before < 0).any() and (before > 0).any()
    assert_close(net(x, static), torch.where(before < 0, 0.2 * before, before), 1e-14)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_types_and_devices(dtype, device):
    net = build()
    x, static = torch.randn(2, 8, 17, dtype=torch.float64), torch.randn(2, 9, dtype=torch.float64)
    expected = net(x, static)
    found = net.to(device, dtype)(x.to(device, dtype), static.to(device, dtype))
    assert found.dtype == dtype and found.device.type == device
    assert_close(found, expected, 1e-5)


class TestNames:
    def test_both_published_names_are_one_tensor(self):
        state = build().state_dict()
        for layer in range(4):
            for one, other in (("conv1", "net.0"), ("conv2", "net.4")):
                for kind in ("weight", "bias"):
                    names = (f"res_blocks.{layer}.{name}.{kind}" for name in (one, other))
                    ours, theirs = (state[name] for name in names)
                    assert ours.data_ptr() == theirs.data_ptr()

    def test_parameters_are_counted_once(self):
        net = build()
        names = [name for name, _ in net.named_parameters()]
        assert len(names) == 4 * 6 + 4 * 4 and not any(".net.0." in name for name in names[:24])

    def test_they_stay_one_tensor_when_loaded_and_moved(self):
        """Training changes both."""
        net = build()
        net.load_state_dict({name: values.clone() for name, values in build(seed=1).state_dict().items()})
        net = net.to(torch.float32)
        with torch.no_grad():
            net.res_blocks[2].conv1.weight += 1
        state = net.state_dict()
        assert torch.equal(state["res_blocks.2.conv1.weight"], state["res_blocks.2.net.0.weight"])

    @pytest.mark.parametrize("norm_type", ["batch", "instance"])
    def test_normalisation_adds_parameters(self, norm_type):
        names = set(build(norm_type=norm_type).state_dict()) - set(build().state_dict())
        assert {"res_blocks.0.net.1.weight", "res_blocks.3.net.5.bias"} <= names


class TestSettings:
    @pytest.mark.parametrize("kernel_size", [2, 4])
    def test_even_kernels_are_refused(self, kernel_size):
        with pytest.raises(ValueError, match=f"kernel_size.*odd.*{kernel_size}"):
            build(kernel_size=kernel_size)

    def test_unknown_normalisation_is_refused(self):
        with pytest.raises(ValueError, match="norm_type.*'layer'"):
            build(norm_type="layer")

    def test_number_of_layers(self):
        net = build(n_layers=2, n_static_layers=3)
        assert len(net.res_blocks) == len(net.static_blocks) == 2
        convolutions = [layer for layer in net.static_blocks[0].net if isinstance(layer, torch.nn.Conv1d)]
        assert [layer.in_channels for layer in convolutions] == [9, 5, 5]


@pytest.mark.parametrize("out_channels", [30, 20 + 6])
def test_one_window_is_the_network_on_it(out_channels):
    net = ReconstructionNet(50, 40, out_channels, hidden_channel=20, static_hidden_channel=6).double()
    x, static = torch.randn(1, 8, 50, dtype=torch.float64), torch.randn(1, 40, dtype=torch.float64)
    with torch.no_grad():
        codes = [block(static) for block in net.static_blocks]
        assert torch.allclose(OneWindow(net, codes, 8)(x[0]), net(x, static)[0], atol=1e-12)
