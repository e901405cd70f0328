# SPDX-License-Identifier: Apache-2.0
"""The zoo: which networks exist, how one is made, and a card for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from pitviper.core.models.acm import ACM, ACMConfig
from pitviper.core.models.alcl import ALCLConfig, ALCLNet
from pitviper.core.models.alcnet import ALCNet, ALCNetConfig, ALCNetPort, ALCNetPortConfig
from pitviper.core.models.base import DetectorNetwork
from pitviper.core.models.dna import DNANet, DNANetConfig
from pitviper.core.models.mlcl import MLCLConfig, MLCLNet
from pitviper.core.models.pitnet import PitNet, PitNetConfig


@dataclass(frozen=True)
class ModelCard:
    """What a network is.

    Attributes:
        name: Name for ``create_model``.
        family: Architecture class.
        build: Makes the network from its config.
        config: Default config of this name.
        source: Paper or origin.
        note: One sentence on when to take it.
    """

    name: str
    family: str
    build: Callable[[Any], DetectorNetwork]
    config: Any
    source: str
    note: str


_OWN = "this project"
_ACM = "Dai et al., Asymmetric Contextual Modulation for Infrared Small Target Detection, WACV 2021"
_ALCNET = "Dai et al., Attentional Local Contrast Networks for Infrared Small Target Detection, TGRS 2021"
_MLCL = (
    "Yu et al., Infrared Small Target Detection Based on Multiscale Local Contrast Learning Networks, 2022"
)
_ALCL = "Yu et al., Pay Attention to Local Contrast Learning Networks for Infrared Small Target Detection, GRSL 2022"
_DNA = "Li et al., Dense Nested Attention Network for Infrared Small Target Detection, TIP 2023"
_CARDS = {
    card.name: card
    for card in (
        ModelCard(
            "pit-n",
            "PitNet",
            PitNet,
            PitNetConfig(widths=(4, 16, 32, 48), depths=(0, 0, 1, 1), decoder=(1, 0, 0), packed=True),
            _OWN,
            "The smallest: for boards without a GPU or very fast cameras.",
        ),
        ModelCard(
            "pit-s",
            "PitNet",
            PitNet,
            PitNetConfig(),
            _OWN,
            "The default.",
        ),
        ModelCard(
            "pit-m",
            "PitNet",
            PitNet,
            PitNetConfig(widths=(16, 32, 64, 128, 128), stem=2, depths=(1, 1, 1, 2, 1), decoder=(2, 2, 1, 1)),
            _OWN,
            "For a board with a GPU that has time to spare.",
        ),
        ModelCard("acm", "ACM", ACM, ACMConfig(), _ACM, "Published light baseline, 3 blocks a stage."),
        ModelCard(
            "acm-original",
            "ACM",
            ACM,
            ACMConfig(blocks=4, batch_norm_fusion=True, align_corners=True),
            _ACM,
            "The paper's own form, 4 blocks a stage; trains with batches of two or more.",
        ),
        ModelCard(
            "alcnet",
            "ALCNet",
            ALCNet,
            ALCNetConfig(),
            _ALCNET,
            "The paper's own form, with the local contrast measure, at full resolution.",
        ),
        ModelCard(
            "alcnet-port",
            "ALCNetPort",
            ALCNetPort,
            ALCNetPortConfig(),
            _ALCNET,
            "What later tables call ALCNet: ACM's trunk, a longer decoder, no local contrast.",
        ),
        ModelCard(
            "mlcl", "MLCLNet", MLCLNet, MLCLConfig(), _MLCL, "Few parameters, most at full resolution."
        ),
        ModelCard("alcl", "ALCLNet", ALCLNet, ALCLConfig(), _ALCL, "Five stages; accurate for its cost."),
        ModelCard(
            "dna-r10", "DNANet", DNANet, DNANetConfig(blocks=(1, 1, 1, 1)), _DNA, "The lightest DNA-Net."
        ),
        ModelCard("dna-r18", "DNANet", DNANet, DNANetConfig(), _DNA, "The DNA-Net that papers compare with."),
        ModelCard(
            "dna-r34", "DNANet", DNANet, DNANetConfig(blocks=(3, 4, 6, 3)), _DNA, "The deepest DNA-Net."
        ),
    )
}


def list_models() -> list[str]:
    """Names that ``create_model`` accepts."""
    return list(_CARDS)


def model_card(name: str) -> ModelCard:
    """The card of a network.

    Raises:
        ValueError: There is no network of that name; the message lists those that exist.
    """
    if name not in _CARDS:
        raise ValueError(f"unknown model {name!r}; available: {', '.join(_CARDS)}")
    return _CARDS[name]


def create_model(name: str, **config: Any) -> DetectorNetwork:
    """Build a network with random weights.

    Args:
        name: One of ``list_models()``.
        config: Fields of the network's config that differ from the card's, for instance ``in_channels=3``.

    Returns:
        The network in training form and training mode.

    Raises:
        ValueError: Unknown name or config field; the message lists what exists.
    """
    card = model_card(name)
    known = {f.name for f in fields(card.config)}
    unknown = sorted(set(config) - known)
    if unknown:
        raise ValueError(f"{name} has no setting {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    changes: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    return card.build(replace(card.config, **changes))
