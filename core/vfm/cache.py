# SPDX-License-Identifier: Apache-2.0
"""Features of a frozen foundation model kept on disk, for trainings in which the same frame comes again and again."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from pitviper.core.vfm.adapter import FrozenVFM

GIB = 1 << 30
_DIGEST = "digest"
_MEASURED = 64
"""The folder is measured again whenever this part of its limit was written: N processes pass it by N parts at most."""


class CacheFull(OSError):
    """The cache has reached its size; the message says what to do."""


class CachedVFM(FrozenVFM):
    """A `FrozenVFM` that looks for the features of a frame in a folder before it computes them.

    A key is the hash of the model (weights, levels, patch, scale, normalisation, and its features of a fixed frame, in
    which also the number of heads shows), of the precision it runs in, and of the frame's content. One safetensors file
    holds the maps of one frame, float32. Frames are computed one by one, so that features do not depend on what else
    was in the batch and a training with an empty cache equals one with a full cache bit for bit. Against no cache,
    batches of one frame are equal bit for bit, larger ones up to the rounding of another batch size.

    A file that cannot be read, or whose content is not what was written, is computed anew with a warning. Files are
    written under another name and then renamed, so several processes can share a folder.

    Args:
        vfm: The model; it shares its backbone with this one.
        folder: Of the cache; made when missing.
        limit_gib: Largest size of all its files together, in GiB; each process that shares the folder may pass it by
            1/64, since each measures it from time to time.

    Raises:
        ValueError: ``limit_gib`` is not positive.
        OSError: The folder cannot be made.
    """

    def __init__(self, vfm: FrozenVFM, folder: str | Path, *, limit_gib: float = 20.0) -> None:
        if limit_gib <= 0:
            raise ValueError(f"the cache needs a size above 0 GiB, got {limit_gib}")
        mean, std = vfm.mean.flatten().tolist(), vfm.std.flatten().tolist()
        super().__init__(vfm.backbone, levels=vfm.levels, mean=mean, std=std, scale=vfm.scale)
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.limit_gib = limit_gib
        self.hits = self.misses = 0
        self._bytes, self._written = self._size(), 0
        self._model = self._fingerprint()

    @torch.no_grad()
    def forward(self, frames: Tensor) -> list[Tensor]:
        """Features as of `FrozenVFM.forward`.

        Raises:
            ValueError: As there.
            CacheFull: Another file would exceed the limit; what is there stays.
        """
        if frames.ndim != 4 or len(frames) == 0:
            return super().forward(frames)
        maps = [self._of_one(frame[None]) for frame in frames]
        return [torch.cat(level).to(frames.device) for level in zip(*maps, strict=True)]

    def _of_one(self, frame: Tensor) -> list[Tensor]:
        path = self._path(frame)
        found = self._read(path)
        if found is not None:
            self.hits += 1
            return found
        self.misses += 1
        maps = [level.cpu().contiguous() for level in super().forward(frame)]
        self._write(path, maps)
        return maps

    def _path(self, frame: Tensor) -> Path:
        kind = frame.device.type
        autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        weight = next(self.backbone.parameters()).dtype
        settings = f"{self._model} {kind} {weight} {autocast} {frame.dtype} {tuple(frame.shape)}"
        key = hashlib.sha256(settings.encode() + _content(frame)).hexdigest()
        return self.folder / key[:2] / f"{key}.safetensors"

    def _read(self, path: Path) -> list[Tensor] | None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            tensors = load(content)
            maps = [tensors[str(level)] for level in self.levels]
            sound = torch.equal(tensors[_DIGEST], _digest(maps))
        except (SafetensorError, KeyError):
            sound = False
        if sound:
            return maps
        warnings.warn(f"{path} is damaged; its features are computed anew", stacklevel=2)
        return None

    def _write(self, path: Path, maps: Sequence[Tensor]) -> None:
        tensors = {str(level): m for level, m in zip(self.levels, maps, strict=True)}
        content = save({**tensors, _DIGEST: _digest(maps)})
        # Other processes write too, and a person may have cleared the folder.
        if (
            self._written * _MEASURED >= self.limit_gib * GIB
            or self._bytes + len(content) > self.limit_gib * GIB
        ):
            self._bytes, self._written = self._size(), 0
            if self._bytes + len(content) > self.limit_gib * GIB:
                raise CacheFull(
                    f"the feature cache in {self.folder} holds {self._bytes / GIB:.3g} GiB and may hold "
                    f"{self.limit_gib:g}: allow more, empty it, or train without it"
                )
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            partial.write_bytes(content)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        self._bytes += len(content)
        self._written += len(content)

    def _size(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("*/*.safetensors"))

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.levels} {self.patch_size} {self.scale}".encode())
        for name, tensor in sorted(self.backbone.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(_content(tensor))
        side = 2 * self.patch_size
        probe = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(0))
        for level in super().forward(probe.to(self.mean.device)):
            digest.update(_content(level))
        return digest.hexdigest()


def _content(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()


def _digest(maps: Sequence[Tensor]) -> Tensor:
    digest = hashlib.sha256()
    for level in maps:
        digest.update(_content(level))
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)
