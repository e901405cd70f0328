# SPDX-License-Identifier: Apache-2.0
"""The optimiser of a run."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pitviper.train.config import TrainingConfig

_LEAST_SIDE = 8
_NO_DECAY_BELOW = 2


def make_optimizer(task: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW, or Muon (Jordan et al. 2024) for the kernels with AdamW for everything else.

    Muon replaces the step of a kernel, seen as a matrix of output channels by the rest, by its nearest
    semi-orthogonal matrix. Its step is scaled to the size of AdamW's, so that one learning rate suits both.

    Args:
        task: Parameters without gradient are left out.
        config: ``optimizer``, ``lr`` and ``weight_decay``.

    Raises:
        ImportError: Muon without timm, whose implementation it is.
    """
    parameters = [p for p in task.parameters() if p.requires_grad]
    vectors = [p for p in parameters if p.ndim < _NO_DECAY_BELOW]
    kernels = [p for p in parameters if p.ndim >= _NO_DECAY_BELOW]
    if config.optimizer == "adamw":
        groups = [
            {"params": kernels, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=config.lr)
    try:
        from timm.optim.muon import Muon
    except (ImportError, RuntimeError) as error:  # torchvision of another torch raises RuntimeError
        raise ImportError(
            f"--optimizer muon is timm's, which cannot be imported ({error}); pip install 'pitviper[train]', or take "
            "--optimizer adamw"
        ) from error
    groups = [
        {"params": [p for p in kernels if _is_matrix(p)], "weight_decay": config.weight_decay},
        {
            "params": [p for p in kernels if not _is_matrix(p)],
            "weight_decay": config.weight_decay,
            "use_fallback": True,
        },
        {"params": vectors, "weight_decay": 0.0, "use_fallback": True},
    ]
    optimizer: torch.optim.Optimizer = Muon(
        [group for group in groups if group["params"]],
        lr=config.lr,
        nesterov=True,
        adjust_lr_fn="match_rms_adamw",
        betas=(0.9, 0.99),
    )
    return optimizer


def _is_matrix(kernel: Tensor) -> bool:
    """Both sides are long enough for an orthogonal step to mean something; heads and first 1x1 layers are not."""
    return min(kernel.shape[0], kernel[0].numel()) >= _LEAST_SIDE
