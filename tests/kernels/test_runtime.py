# SPDX-License-Identifier: Apache-2.0
"""The runtime: plans that were changed, frames that cannot be used, and what is refused instead of crashing."""

from __future__ import annotations

import ctypes
import struct
import zlib
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.core.plan import build_plan
from pitviper.kernels import dlpack
from pitviper.kernels.runtime import FusedRuntime, RuntimeFailure

HEADER, VALUE, LAUNCH = 248, 16, 108


@pytest.fixture(scope="module")
def plan() -> bytes:
    return build_plan(sdk.open_model("pit-n")).to_bytes()


@pytest.fixture
def runtime(plan: bytes) -> Any:
    with FusedRuntime(plan) as opened:
        yield opened


def sealed(content: bytes | bytearray) -> bytes:
    """With the check sum that belongs to the content, so that only the meaning can be refused."""
    return bytes(content[:-4]) + struct.pack("<I", zlib.crc32(bytes(content[:-4])))


def scene(shape: tuple[int, int], seed: int = 0) -> NDArray[np.uint16]:
    frame = np.random.default_rng(seed).normal(7800, 12, shape)
    frame[shape[0] // 2, shape[1] // 3 : shape[1] // 3 + 2] += 600
    return frame.astype(np.uint16)


def refused(content: bytes) -> str:
    with pytest.raises(RuntimeFailure) as caught:
        FusedRuntime(content)
    assert caught.value.status == "PV_PLAN"
    return str(caught.value)


def test_a_plan_of_another_schema_is_refused_with_both_numbers(plan: bytes) -> None:
    other = bytearray(plan)
    struct.pack_into("<I", other, 8, 7)
    assert "schema 7" in refused(sealed(other))
    assert "reads schema 1" in refused(sealed(other))


def test_a_plan_that_was_cut_off_or_changed_is_refused(plan: bytes) -> None:
    for length in (0, 7, 8, 100, HEADER, len(plan) // 2, len(plan) - 1):
        assert "cut off" in refused(plan[:length])
    changed = bytearray(plan)
    changed[len(plan) // 2] ^= 1
    assert "check sum" in refused(bytes(changed))
    assert "no plan" in refused(b"PK\x03\x04" + plan[4:])


def test_weights_of_another_network_are_refused(plan: bytes) -> None:
    other = build_plan(sdk.open_model("pit-s")).to_bytes()
    mixed = plan[: HEADER + 9 * VALUE + 9 * LAUNCH] + other[HEADER + 13 * VALUE + 13 * LAUNCH :]
    assert "size" in refused(sealed(mixed))


def test_weights_that_are_no_numbers_are_refused(plan: bytes) -> None:
    changed = bytearray(plan)
    struct.pack_into("<f", changed, len(plan) - 4 - 400, float("nan"))
    assert "finite" in refused(sealed(changed))


def test_no_change_of_the_plan_breaks_the_parser_or_what_runs_it(plan: bytes) -> None:
    """Every field of every record, with values that lie just outside, far outside, and in between."""
    rng = np.random.default_rng(5)
    structure = HEADER + 9 * VALUE + 9 * LAUNCH
    frame = scene((40, 56))
    answers: Counter[str] = Counter()
    for at in range(8, structure, 4):
        for value in (0, 1, 0xFFFFFFFF, 0x7FFFFFFF, int(rng.integers(0, 600)), int(rng.integers(0, 2**32))):
            changed = bytearray(plan)
            struct.pack_into("<I", changed, at, value)
            answers[answer(sealed(changed), frame)] += 1
    # What is accepted, such as another threshold or weights from another place in the file, also runs.
    assert set(answers) <= {"PV_OK", "PV_PLAN", "PV_NETWORK"}
    assert answers.total() > 2000
    assert 0 < answers["PV_OK"] < answers["PV_PLAN"]


def answer(content: bytes, frame: NDArray[Any]) -> str:
    try:
        with FusedRuntime(content) as opened:
            opened.submit(frame)
            opened.poll()
    except RuntimeFailure as error:
        return error.status
    return "PV_OK"


@pytest.mark.parametrize("device", ["cpu", "host"])
def test_frames_of_every_type_shape_and_stride(plan: bytes, device: str) -> None:
    whole = scene((60, 90))
    with FusedRuntime(plan, device=device) as runtime:
        expected = found(runtime, np.ascontiguousarray(whole[3:51, 7:71]))
        assert len(expected) >= 1
        views = {
            "rows apart": whole[3:51, 7:71],
            "upside down": np.ascontiguousarray(whole[3:51, 7:71][::-1])[::-1],
            "columns apart": np.repeat(whole[3:51, 7:71], 2, axis=1)[:, ::2],
            "other byte order": whole[3:51, 7:71].astype(">u2"),
            "float32": whole[3:51, 7:71].astype(np.float32),
            "float16": whole[3:51, 7:71].astype(np.float16).astype(np.float32),
        }
        for name, view in views.items():
            close = 0.05 if name == "float16" else 1e-4
            np.testing.assert_allclose(found(runtime, view), expected, atol=close, rtol=close, err_msg=name)


def found(runtime: FusedRuntime, frame: NDArray[Any]) -> NDArray[np.float64]:
    runtime.submit(frame)
    result = runtime.poll()
    assert result is not None
    return np.column_stack([result.targets.xy, result.targets.area, result.targets.peak])


def test_rows_that_share_memory_are_read_as_they_are(runtime: FusedRuntime) -> None:
    row = scene((1, 64))[0]
    same = np.broadcast_to(row, (40, 64))
    np.testing.assert_array_equal(found(runtime, same), found(runtime, np.array(same)))


@pytest.mark.parametrize(
    ("frame", "kind", "words"),
    [
        (np.zeros((64, 64), np.int32), TypeError, "int32"),
        (np.zeros((64, 64), np.complex64), TypeError, "complex64"),
        (np.zeros((3, 64, 64), np.uint16), ValueError, r"\(3, 64, 64\)"),
        ([[1, 2], [3, 4]], TypeError, "list"),
        (np.zeros((31, 64), np.uint16), RuntimeFailure, "32"),
        (np.full((64, 64), np.nan, np.float32), RuntimeFailure, "4096 NaN"),
    ],
)
def test_what_is_no_frame_is_refused(
    runtime: FusedRuntime, frame: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        found(runtime, frame)
    assert len(found(runtime, scene((64, 64)))) == 1


def test_gpu_memory_without_a_gpu_is_refused(runtime: FusedRuntime) -> None:
    class Tensor:
        def __init__(self, kind: str) -> None:
            self.__cuda_array_interface__ = {
                "shape": (64, 64),
                "typestr": kind,
                "data": (4096, False),
                "version": 3,
            }

    with pytest.raises(RuntimeFailure, match="lies on a GPU"):
        runtime.submit(Tensor("<u2"))
    with pytest.raises(TypeError, match="<i8"):
        runtime.submit(Tensor("<i8"))


def test_dlpack_in_ordinary_memory_is_read(runtime: FusedRuntime) -> None:
    class Holder:
        def __init__(self, array: NDArray[Any]) -> None:
            self._array = array

        def __dlpack__(self, **values: Any) -> Any:
            return self._array.__dlpack__(**values)

        def __dlpack_device__(self) -> Any:
            return self._array.__dlpack_device__()

    frame = scene((48, 64))
    np.testing.assert_array_equal(found(runtime, Holder(frame)), found(runtime, frame))


class OnGpu:
    """A tensor on a GPU as DLPack tells of it. The memory is the host's, which nothing here reads."""

    def __init__(self, array: NDArray[Any], *, device: int = 2, lanes: int = 1, sparse: bool = True) -> None:
        self._array, self._device, self.streams = array, device, []
        sides = array.ndim
        code = {"u": 1, "f": 2, "i": 0}[array.dtype.kind]
        size = array.itemsize
        self._shape = (ctypes.c_int64 * sides)(*array.shape)
        self._strides = (ctypes.c_int64 * sides)(*(step // size for step in array.strides))
        self._tensor = dlpack.DLTensor(
            array.ctypes.data - 64,
            (device, 0),
            sides,
            (code, 8 * size, lanes),
            self._shape,
            self._strides if sparse else None,
            64,
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device, 0

    def __dlpack__(self, *, stream: int | None = None) -> object:
        self.streams.append(stream)
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        capsule: object = new(ctypes.addressof(self._tensor), b"dltensor", None)
        return capsule


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<f2", "<f4"])
def test_dlpack_of_a_gpu_reaches_the_runtime_with_its_place_and_its_stream(
    runtime: FusedRuntime, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(runtime, "_call", lambda *values: calls.append(values))
    whole = np.zeros((64, 100), dtype)
    rows_apart, dense = OnGpu(whole[:, 10:74]), OnGpu(whole, sparse=False)
    runtime.submit(rows_apart, id=5)
    runtime.submit(dense, stream=77)
    kind = {"u1": 1, "<u2": 2, "<f2": 3, "<f4": 4}[dtype]
    (_, _, address, layout, place, stream, id), (_, _, second, dense_layout, _, asked, _) = calls
    assert (address, second) == (whole[:, 10:].ctypes.data, whole.ctypes.data)
    assert layout == (kind, 64, 64, 100 * whole.itemsize)
    assert dense_layout == (kind, 64, 100, 100 * whole.itemsize)
    assert (place, stream, id, asked) == (2, 1, 5, 77)
    assert rows_apart.streams == [1], "the exporter lets the default stream wait for its work"
    monkeypatch.undo()


@pytest.mark.parametrize(("told", "asked", "expected"), [({}, 0, 1), ({"stream": 9}, 0, 9), ({}, 77, 77)])
def test_a_frame_is_not_read_before_its_own_stream_wrote_it(
    runtime: FusedRuntime, monkeypatch: pytest.MonkeyPatch, told: dict[str, int], asked: int, expected: int
) -> None:
    """PyTorch's interface has no stream in it, and nothing would wait; its DLPack does, CuPy's interface too."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(runtime, "_call", lambda *values: calls.append(values))
    tensor = OnGpu(np.zeros((64, 64), np.uint16), sparse=False)
    place = {"shape": (64, 64), "typestr": "<u2", "data": (4096, False), "version": 2}
    monkeypatch.setattr(OnGpu, "__cuda_array_interface__", place | told, raising=False)
    runtime.submit(tensor, stream=asked)
    assert calls[0][5] == expected
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("frame", "kind", "words"),
    [
        (OnGpu(np.zeros((64, 64), np.uint16)), RuntimeFailure, "lies on a GPU"),
        (OnGpu(np.zeros((64, 64), np.int32)), TypeError, "type code 0 of 32 bits"),
        (OnGpu(np.zeros((64, 64), np.float64)), TypeError, "<f8"),
        (OnGpu(np.zeros((64, 64), np.uint16), lanes=4), TypeError, "4 lanes"),
        (OnGpu(np.zeros((3, 64, 64), np.uint16)), TypeError, r"\[3, 64, 64\]"),
        (OnGpu(np.zeros((64, 64), np.uint16).T), TypeError, "columns adjacent"),
        (SimpleNamespace(__cuda_array_interface__={"shape": (64, 64)}), TypeError, "lacks typestr, data"),
        (
            SimpleNamespace(
                __cuda_array_interface__={"shape": (4, 4), "typestr": "<u2", "data": (64, True), "mask": 1}
            ),
            TypeError,
            "has a mask",
        ),
    ],
)
def test_gpu_memory_that_is_no_frame_is_refused(
    runtime: FusedRuntime, frame: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        runtime.submit(frame)
    assert len(found(runtime, scene((64, 64)))) == 1


def test_a_tensor_that_keeps_its_memory_to_itself_is_refused_with_the_way_out(
    runtime: FusedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise BufferError("another device is current")

    monkeypatch.setattr(OnGpu, "__dlpack__", refuse)
    with pytest.raises(TypeError, match=r"another device is current.*inside torch\.cuda\.device"):
        runtime.submit(OnGpu(np.zeros((64, 64), np.uint16)))


def test_a_capsule_that_was_used_is_refused(runtime: FusedRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = OnGpu(np.zeros((64, 64), np.uint16))
    monkeypatch.setattr(OnGpu, "__dlpack__", lambda self, **_: "no capsule")
    with pytest.raises(TypeError, match="no unused capsule"):
        runtime.submit(frame)


def test_two_frames_are_in_flight_and_come_back_in_order(runtime: FusedRuntime) -> None:
    first, second = scene((48, 64), 1), scene((64, 48), 2)
    alone = [found(runtime, frame) for frame in (first, second)]
    runtime.submit(first, id=41)
    runtime.submit(second, id=42)
    with pytest.raises(RuntimeFailure) as caught:
        runtime.submit(first)
    assert caught.value.status == "PV_BUSY"
    for id, frame, targets in ((41, first, alone[0]), (42, second, alone[1])):
        result = runtime.poll()
        assert result is not None
        assert (result.id, result.shape) == (id, frame.shape)
        np.testing.assert_array_equal(result.targets.xy, targets[:, :2])
    with pytest.raises(RuntimeFailure) as caught:
        runtime.poll()
    assert caught.value.status == "PV_EMPTY"


def test_a_closed_runtime_is_refused_by_every_call(plan: bytes) -> None:
    runtime = FusedRuntime(plan)
    runtime.close()
    runtime.close()
    frame = scene((64, 64))
    calls: list[Any] = [
        lambda: runtime.submit(frame),
        lambda: runtime.poll(),
        lambda: runtime.map((64, 64)),
        lambda: runtime.prepare((64, 64)),
        lambda: runtime.info,
        lambda: runtime.set_threshold(0.5),
        lambda: runtime.network(np.zeros((1, 1, 64, 64), np.float32)),
    ]
    for call in calls:
        with pytest.raises(RuntimeFailure) as caught:
            call()
        assert caught.value.status == "PV_CLOSED"


def test_the_map_is_that_of_the_frame_polled_last(runtime: FusedRuntime) -> None:
    frame = scene((50, 70))
    targets = found(runtime, frame)
    probability = runtime.map(frame.shape)
    assert probability.max() == np.float32(targets[:, 3].max())
    assert (probability > runtime.info["threshold"]).sum() == targets[:, 2].sum()
    with pytest.raises(RuntimeFailure, match="3500"):
        runtime.map((10, 10))
    runtime.submit(frame)
    with pytest.raises(RuntimeFailure) as caught:
        runtime.map(frame.shape)
    assert caught.value.status == "PV_EMPTY"


def test_a_device_that_is_not_there_says_why(plan: bytes) -> None:
    with pytest.raises(RuntimeFailure, match=r"cuda:77"):
        FusedRuntime(plan, device="cuda:77")
    with pytest.raises(RuntimeFailure, match="cpu, host and cuda:0"):
        FusedRuntime(plan, device="vulkan")
    with pytest.raises(RuntimeFailure, match="fp32"):
        FusedRuntime(plan, device="cpu", half=True)


@pytest.mark.parametrize("threshold", [-0.3, 0.0, 2.0**-17, 1.0, float("nan")])
def test_a_threshold_out_of_range_is_refused_and_never_the_plans(
    plan: bytes, runtime: FusedRuntime, threshold: float
) -> None:
    with pytest.raises(ValueError, match="at least 2\\^-16 and below 1"):
        FusedRuntime(plan, threshold=threshold)
    with pytest.raises(RuntimeFailure, match="at least 2\\^-16 and below 1"):
        runtime.set_threshold(threshold)
    assert runtime.info["threshold"] == 0.5


@pytest.mark.parametrize("most", [0, -1, 65536])
def test_room_for_no_target_is_refused(plan: bytes, most: int) -> None:
    with pytest.raises(ValueError, match="max_targets must be 1 to 65535"):
        FusedRuntime(plan, max_targets=most)


def test_a_shape_of_nothing_cannot_be_prepared(runtime: FusedRuntime) -> None:
    with pytest.raises(RuntimeFailure, match="0 x 0 pixels cannot be used"):
        runtime.prepare((0, 0))
