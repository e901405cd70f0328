# SPDX-License-Identifier: Apache-2.0
"""No frame is trained with that is next to one that judges."""

from __future__ import annotations

from pitviper.train.adaptation.split import split_by_time


def test_blocks_of_time_alternate() -> None:
    number = {f"f{i}": 100 * i for i in range(16)}
    split = split_by_time(reversed(list(number)), (), number, apart=1)
    assert split.teach == ("f0", "f1", "f2", "f3", "f8", "f9", "f10", "f11")
    assert split.judge == ("f4", "f5", "f6", "f7", "f12", "f13", "f14", "f15")
    assert split.left_out == ()


def test_neighbours_of_a_judge_teach_nothing() -> None:
    number = {f"f{i}": 10 * i for i in range(16)} | {f"t{i}": i for i in range(0, 160, 5)}
    clicked, tracked = [n for n in number if n[0] == "f"], [n for n in number if n[0] == "t"]
    split = split_by_time(clicked, tracked, number, apart=25)
    judges = [number[name] for name in split.judge]
    taught = [number[name] for name in (*split.teach, *split.tracked)]
    assert judges == [40, 50, 60, 70, 120, 130, 140, 150]
    assert taught, "something is left"
    assert min(abs(a - b) for a in judges for b in taught) >= 25
    assert not any(40 <= frame <= 70 or 120 <= frame <= 150 for frame in taught), "nor between two judges"
    everything = {*split.teach, *split.judge, *split.tracked, *split.left_out}
    assert everything == set(number), "what is left out is told"


def test_fewer_frames_than_blocks() -> None:
    split = split_by_time(["b", "a"], (), {"a": 0, "b": 9}, apart=1)
    assert (split.teach, split.judge) == (("a",), ("b",))
