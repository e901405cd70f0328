# SPDX-License-Identifier: Apache-2.0
"""What every network of the zoo promises, whichever it is."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.core.models import DetectorNetwork, create_model, list_models, model_card

every_model = pytest.mark.parametrize("name", list_models())
NEEDS_TWO_IMAGES = {"acm-original"}
# Folding a norm rounds each weight once; the relative error of the logits stays two orders below this.
DEPLOYED_TOLERANCE = 1e-5


def batch(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network_of(name: str, **config: object) -> DetectorNetwork:
    torch.manual_seed(0)
    return create_model(name, **config)


def randomise_norms(network: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(torch.rand(module.running_mean.shape, generator=generator) - 0.5)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.3)
            if module.affine:
                module.weight.data.copy_(torch.rand(module.weight.shape, generator=generator) + 0.5)
                module.bias.data.copy_(torch.rand(module.bias.shape, generator=generator) - 0.5)


def assert_deployed_equal(network: DetectorNetwork) -> None:
    network.eval()
    x = batch(2, network.in_channels, 96, 64, seed=5)
    with torch.no_grad():
        want, found = network(x), network.deploy()(x)
    spread = float(want.max() - want.min())
    assert spread > 0.01, "a constant map would prove nothing"
    # What rounds is the logit with its bias of -4.6, however little it varies over the frame.
    assert float((found - want).abs().max()) < DEPLOYED_TOLERANCE * float(want.abs().max())


@every_model
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(name: str, channels: int) -> None:
    network = network_of(name, in_channels=channels).eval()
    assert network.in_channels == channels
    height, width = 3 * network.required_multiple, 2 * network.required_multiple
    x = batch(2, channels, height, width)
    with torch.no_grad():
        stages = network.encode(x)
        outputs = network.decode(stages)
        logits = network(x)
    found = [(s.shape[1], height // s.shape[2], width // s.shape[3]) for s in stages]
    assert found == [(c, s, s) for c, s in zip(network.stage_channels, network.stage_strides, strict=True)]
    assert list(outputs) == ["final"], "side outputs are for training alone"
    assert logits.shape == (2, 1, height, width)
    assert torch.equal(outputs["final"], logits)
    assert stages[network.bottleneck_index].shape[1] == network.stage_channels[-1]


@every_model
def test_sizes_that_do_not_fit(name: str) -> None:
    network = network_of(name)
    multiple = network.required_multiple
    message = rf"multiples of {multiple}, got {multiple}x{multiple + 1}; pad first: kernels\.standardise"
    with pytest.raises(ValueError, match=message):
        network(batch(1, 1, multiple, multiple + 1))


@every_model
def test_an_untrained_network_sees_targets_in_few_pixels(name: str) -> None:
    """From 0.5, the first epochs would lower all pixels: ACM found nothing in 6 epochs, and 62 % IoU from 0.01."""
    network = network_of(name).train()
    outputs = network.decode(network.encode(batch(2, network.in_channels, 64, 64)))
    for logits in outputs.values():
        assert float(torch.sigmoid(logits).median()) < 0.1


@every_model
def test_deploy_with_random_statistics(name: str) -> None:
    network = network_of(name)
    randomise_norms(network)
    assert_deployed_equal(network)


@every_model
def test_deploy_after_training(name: str) -> None:
    network = network_of(name)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    for step in range(4):
        x = batch(2, 1, 64, 64, seed=step)
        F.binary_cross_entropy_with_logits(network(x), (x > 1.5).float()).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert_deployed_equal(network)


@every_model
def test_deploy_leaves_the_network_as_it_was(name: str) -> None:
    network = network_of(name).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    deployed = network.deploy()
    assert network.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not deployed.training
    assert not any(p.requires_grad for p in deployed.parameters())
    assert sum(isinstance(m, nn.BatchNorm2d) for m in deployed.modules()) == hasattr(network, "input_norm")


@every_model
def test_gradients_reach_every_parameter(name: str) -> None:
    network = network_of(name)
    size = 4 * network.required_multiple
    outputs = network.decode(network.encode(batch(2, 1, size, size)))
    assert next(reversed(outputs)) == "final"
    torch.stack([(y * batch(2, 1, size, size, seed=1)).sum() for y in outputs.values()]).sum().backward()
    without = [k for k, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("name", sorted(set(list_models()) - NEEDS_TWO_IMAGES))
def test_one_image_is_a_batch(name: str) -> None:
    network = network_of(name).train()
    network(batch(1, 1, 64, 64)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@every_model
def test_single_equals_batched(name: str) -> None:
    network = network_of(name)
    randomise_norms(network)
    network.eval()
    x = batch(3, 1, 64, 96)
    with torch.no_grad():
        together = network(x)
        alone = torch.cat([network(frame[None]) for frame in x])
    # Other batch sizes may take other convolution kernels, which sum in another order.
    assert float((together - alone).abs().max()) < 1e-5 * float(together.max() - together.min())


@every_model
def test_every_pixel_of_the_input_moves_its_logit(name: str) -> None:
    """A target of one pixel must be able to show, wherever it is: no phase of the strides is blind."""
    network = network_of(name)
    randomise_norms(network)
    network.eval()
    with torch.no_grad():
        blank = network(torch.zeros(1, 1, 64, 64))
        for row, column in ((20, 20), (21, 20), (20, 21), (23, 22), (30, 31), (0, 0), (63, 63)):
            frame = torch.zeros(1, 1, 64, 64)
            frame[0, 0, row, column] = 20.0
            change = (network(frame) - blank).abs()[0, 0]
            window = change[max(row - 4, 0) : row + 5, max(column - 4, 0) : column + 5]
            assert float(window.max()) > 1e-5, (row, column)


@every_model
def test_config_survives_json(name: str) -> None:
    network = network_of(name)
    again = create_model(name, **json.loads(json.dumps(asdict(network.config))))
    assert again.config == network.config
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in network.state_dict().items()
    }


@every_model
def test_card(name: str) -> None:
    card = model_card(name)
    assert card.name == name
    assert card.source
    assert card.note.endswith(".")
    assert type(network_of(name)).__name__ == card.family


def test_unknown_names_and_settings() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'unet'; available: .*pit-s"):
        create_model("unet")
    with pytest.raises(ValueError, match=r"pit-n has no setting width; it has decoder, depths, in_channels"):
        create_model("pit-n", width=3)
