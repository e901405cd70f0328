# SPDX-License-Identifier: Apache-2.0
"""`FusedNet` without a GPU: its plan by the definition and by interpreted Triton, its memory, the order of its work."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.core.plan import Plan, build_plan
from pitviper.core.synthetic import random_scene_frame
from pitviper.kernels import registry
from pitviper.kernels.runtime import FusedRuntime

torch: Any = pytest.importorskip("torch", reason="the extra torch is not installed")

from pitviper.sdk.engines import fused_net, fused_queue  # noqa: E402  (they import torch)
from pitviper.sdk.engines.fused_net import SHAPES, FusedNet  # noqa: E402

ROUNDING = 1e-4
"""Sums of float32 products in another order, see the tests of plans."""
SAME_HALF = 0.005
"""Both round each map to a half; a sum that lies at the border of two goes to either side by its order."""


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    return {name: build_plan(sdk.open_model(name)) for name in ("pit-n", "pit-s")}


@pytest.fixture
def make(plans: dict[str, Plan]) -> Iterator[Callable[..., FusedNet]]:
    made: list[FusedNet] = []

    def opened(
        name: str = "pit-n", *, dtype: str = "float32", backend: Any = "torch", queue: Any = None
    ) -> FusedNet:
        where, kind = torch.device("cpu"), getattr(torch, dtype)
        made.append(FusedNet(plans[name], device=where, dtype=kind, backend=backend, queue=queue))
        return made[-1]

    yield opened
    for net in made:
        net.close()


def standardised(count: int, shape: tuple[int, int], seed: int = 0) -> NDArray[np.float32]:
    frames = np.random.default_rng(seed).normal(0, 1, (count, 1, *shape)).astype(np.float32)
    frames[:, :, shape[0] // 2, shape[1] // 3 : shape[1] // 3 + 2] += 12
    return frames


def expected(plan: Plan, frames: NDArray[np.float32]) -> NDArray[np.float32]:
    with FusedRuntime(plan.to_bytes(), device="cpu") as runtime:
        return runtime.network(frames)


def test_half_precision_is_that_of_the_kernels_in_cuda(
    make: Callable[..., FusedNet], plans: dict[str, Plan]
) -> None:
    frames = standardised(1, (48, 64))
    with FusedRuntime(plans["pit-n"].to_bytes(), device="host", half=True) as runtime:
        other = runtime.network(frames)
    found = make(dtype="float16").run(frames)
    np.testing.assert_allclose(found, other, atol=SAME_HALF, rtol=0)
    assert not np.array_equal(found, make().run(frames)), "maps are rounded to halves"


@pytest.mark.skipif(not registry.interpreting(), reason="Triton interprets only where there is no GPU")
def test_the_triton_kernels_give_what_the_definition_gives(make: Callable[..., FusedNet]) -> None:
    pytest.importorskip("triton", reason="triton is not installed (the extra 'triton', for Linux)")
    frames = standardised(1, (16, 24))
    exact, found = make().run(frames), make(backend="triton").run(frames)
    assert np.ptp(exact) > 0.5, "a flat map would compare nothing"
    np.testing.assert_allclose(found, exact, atol=ROUNDING, rtol=0)


class Recorder(fused_queue.HostQueue):
    """Keeps what it is told in order. Work waits until a result is waited for, as on a device that is far behind."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.waiting: list[Callable[[], None]] = []
        self.addresses: dict[str, list[int]] = {"upload": [], "staging": [], "download": []}
        self.recordings = 0

    def recorded(self, work: Callable[[], None]) -> Callable[[], None]:
        self.recordings += 1
        return work

    def upload(self, given: Any, to: Any) -> None:
        self.told.append("upload")
        self.addresses["staging"].append(given.data_ptr())
        self.addresses["upload"].append(to.data_ptr())
        self.waiting.append(lambda: to.copy_(given))

    def run(self, recorded: Callable[[], None]) -> None:
        self.told.append("run")
        self.waiting.append(recorded)

    def download(self, found: Any, to: Any) -> Callable[[], None]:
        self.told.append("download")
        self.addresses["download"].append(to.data_ptr())
        self.waiting.append(lambda: to.copy_(found))
        last = len(self.waiting)

        def wait() -> None:
            self.told.append("wait")
            for work in self.waiting[:last]:
                work()
            self.waiting[:last] = [lambda: None] * last

        return wait

    def drain(self) -> None:
        self.told.append("drain")
        for work in self.waiting:
            work()
        self.waiting.clear()


def test_the_next_frame_is_on_its_way_before_a_result_is_waited_for(
    make: Callable[..., FusedNet], plans: dict[str, Plan]
) -> None:
    queue, frames = Recorder(), standardised(5, (32, 40))
    found = make(queue=queue).run(frames)
    begun = ["upload", "run", "download"]
    assert queue.told == [*begun, *(4 * [*begun, "wait"]), "wait"]
    np.testing.assert_allclose(found, expected(plans["pit-n"], frames), atol=ROUNDING, rtol=0)


def test_memory_never_moves_and_work_is_recorded_once_for_each_input(make: Callable[..., FusedNet]) -> None:
    queue = Recorder()
    net = make(queue=queue)
    net.prepare((32, 40))
    assert queue.recordings == 2
    assert queue.told == []
    for seed in range(3):
        net.run(standardised(2, (32, 40), seed))
    assert queue.recordings == 2
    for addresses in queue.addresses.values():
        assert len(addresses) == 6
        assert len(set(addresses)) == 2, "two buffers, by turns"
        assert addresses[0::2] == addresses[:1] * 3


class FakeCuda:
    """`torch.cuda` as far as `CudaQueue` uses it, without a device: work is done at once, and told with its stream."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self._streams = ["default"]
        self._made = iter(("uploads", "work"))

    def Stream(self, device: Any) -> Any:
        stream, cuda, events = SimpleNamespace(name=next(self._made)), self, iter(range(99))

        def record_event() -> Any:
            name = f"{stream.name}.{next(events)}"
            cuda.told.append(f"{name} recorded")
            return SimpleNamespace(name=name, synchronize=lambda: cuda.told.append(f"{name} waited for"))

        stream.record_event = record_event
        stream.wait_event = lambda event: cuda.told.append(f"{stream.name} waits for {event.name}")
        stream.wait_stream = lambda other: cuda.told.append(f"{stream.name} waits for {other}")
        stream.synchronize = lambda: cuda.told.append(f"{stream.name} synchronised")
        return stream

    @contextlib.contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        self._streams.append(stream.name)
        yield
        self._streams.pop()

    def current_stream(self, device: Any) -> str:
        return self._streams[-1]

    def device(self, device: Any) -> Any:
        return contextlib.nullcontext()

    def CUDAGraph(self) -> Any:
        return SimpleNamespace(replay=lambda: self.did("replay"))

    @contextlib.contextmanager
    def graph(self, graph: Any, *, stream: Any, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local", "another thread's CUDA call must not end the capture"
        self.told.append(f"capture on {stream.name}")
        yield
        self.told.append("end of capture")

    def did(self, what: str) -> None:
        self.told.append(f"{what} on {self._streams[-1]}")


def test_a_cuda_device_is_given_copies_and_graphs_in_an_order_that_overlaps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = FakeCuda()
    monkeypatch.setattr(fused_queue.torch, "cuda", cuda)
    queue = fused_queue.CudaQueue(torch.device("cuda:0"))
    tensor = SimpleNamespace(copy_=lambda other, non_blocking: cuda.did("copy"))
    replay = queue.recorded(lambda: cuda.did("launch"))
    assert cuda.told == [
        "work waits for default",
        "launch on work",
        "work synchronised",
        "capture on work",
        "launch on default",  # of the capture's own stream, which the fake does not enter
        "end of capture",
    ]
    cuda.told.clear()
    queue.upload(tensor, tensor)
    queue.run(replay)
    wait = queue.download(tensor, tensor)
    assert cuda.told == [
        "copy on uploads",
        "uploads.0 recorded",
        "work waits for uploads.0",
        "replay on work",
        "copy on work",
        "work.0 recorded",
    ]
    wait()
    assert cuda.told[-1] == "work.0 waited for"


def test_maps_of_one_launch_lie_apart_and_inside_the_block(
    plans: dict[str, Plan], make: Callable[..., FusedNet]
) -> None:
    for name in plans:
        net = make(name)
        memory = fused_net.Memory(plans[name], (48, 64), net.device, net.dtype)
        for step in net.steps(memory, torch.zeros(1, 48, 64)):
            tensors = {key: value for key, value in step.tensors.items() if value is not None}
            out = tensors.pop("out")
            begin, end = out.data_ptr(), out.data_ptr() + out.numel() * out.element_size()
            for key, value in tensors.items():
                first = value.data_ptr()
                assert first + value.numel() * value.element_size() <= begin or end <= first, key
                assert value.is_contiguous(), key


def test_every_pixel_is_written_by_the_plan(
    make: Callable[..., FusedNet], plans: dict[str, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """New memory holds NaN, so a map that is read before it was written shows."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: empty(*a, **k).fill_(float("nan")))
    for name, plan in plans.items():
        frames = standardised(2, (48, 64))
        found = make(name).run(frames)
        np.testing.assert_allclose(found, expected(plan, frames), atol=ROUNDING, rtol=0)


def test_sizes_come_and_go_with_frames_in_flight(
    make: Callable[..., FusedNet], plans: dict[str, Plan]
) -> None:
    queue = Recorder()
    net = make(queue=queue)
    sizes = [(8 * (4 + n), 32) for n in range(SHAPES + 1)]
    one, two = standardised(1, sizes[0], 1), standardised(1, sizes[-1], 2)
    net.submit(one[0, 0])
    for shape in sizes[1:-1]:
        net.prepare(shape)
    net.submit(two[0, 0])  # makes room by letting go of the first, whose frame is in flight
    with pytest.raises(RuntimeError, match="2 frames are in flight"):
        net.submit(two[0, 0])
    with pytest.raises(RuntimeError, match="poll them first"):
        net.run(two)
    for frames in (one, two):
        wanted = expected(plans["pit-n"], frames)[0, 0]
        np.testing.assert_allclose(net.poll(), wanted, atol=ROUNDING, rtol=0)
    with pytest.raises(RuntimeError, match="no frame is in flight"):
        net.poll()
    before = queue.recordings
    net.run(one)
    assert queue.recordings == before + 2, "its memory was given away, so it is made again"


def test_frames_may_be_read_only_and_come_in_any_mode_of_torch(make: Callable[..., FusedNet]) -> None:
    net, frames = make(), standardised(1, (32, 32))
    frames.flags.writeable = False
    with torch.inference_mode():
        inside = net.run(frames)
    np.testing.assert_array_equal(net.run(frames), inside)
    assert net.run(np.empty((0, 1, 32, 32), np.float32)).shape == (0, 1, 32, 32)


@pytest.mark.parametrize(
    ("frame", "error", "words"),
    [
        (np.zeros((32, 32)), TypeError, "float64"),
        (np.zeros((1, 32, 32), np.float32), TypeError, r"\[1, 32, 32\]"),
        (np.zeros((32, 33), np.float32), ValueError, "multiples of 8"),
        (np.zeros((0, 32), np.float32), ValueError, r"\(0, 32\)"),
        ([[0.0]], TypeError, "list"),
    ],
)
def test_what_is_no_standardised_frame_is_refused(
    make: Callable[..., FusedNet], frame: Any, error: type[Exception], words: str
) -> None:
    net = make()
    with pytest.raises(error, match=words):
        net.submit(frame)
    assert net.run(standardised(1, (32, 32))).max() > 0.5, "and the next frame runs"


class Failing(fused_queue.HostQueue):
    """A device whose memory is full for the third recording on, or that fails at run time."""

    def __init__(self, *, recordings: int = 99, runs: int = 99) -> None:
        self._recordings, self._runs = recordings, runs

    def recorded(self, work: Callable[[], None]) -> Callable[[], None]:
        self._recordings -= 1
        if self._recordings < 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return work

    def run(self, recorded: Callable[[], None]) -> None:
        self._runs -= 1
        if self._runs == 0:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        recorded()


def test_memory_that_runs_out_and_a_device_that_fails_are_told_and_leave_the_engine_usable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def opened(queue: Failing) -> sdk.Detector:
        monkeypatch.setattr(fused_net, "HostQueue", lambda: queue)
        return sdk.Detector("pit-n", engine="torch-fused", device="cpu", warmup=False)

    small, large = random_scene_frame(seed=1, size=64)[0], random_scene_frame(seed=1, size=128)[0]
    with opened(Failing(recordings=2)) as detector:
        before = detector.detect(small)
        with pytest.raises(sdk.EngineError, match=r"out of memory.*20\.00 MiB"):
            detector.detect(large)
        np.testing.assert_array_equal(detector.detect(small).score_map, before.score_map)
    with opened(Failing(runs=2)) as detector:
        detector.detect(small)
        with pytest.raises(sdk.EngineError, match="illegal memory access"):
            detector.detect(small)
        np.testing.assert_array_equal(detector.detect(small).score_map, before.score_map)
