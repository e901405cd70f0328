# SPDX-License-Identifier: Apache-2.0
"""The node against stand-ins for rclpy and its messages: what it does with an image. It has not been run under ROS."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.ros import DetectorNode
from pitviper.sdk.ros import node as module


class FakeNode:
    """As much of rclpy's node as is used."""

    def __init__(self, name: str, parameters: dict[str, Any]) -> None:
        self.name, self.given = name, parameters
        self.declared: dict[str, Any] = {}
        self.published: list[Any] = []
        self.told: list[tuple[str, str]] = []
        self.destroyed = 0
        self.subscribed: tuple[Any, str, Any, Any] | None = None

    def declare_parameters(self, namespace: str, parameters: list[tuple[str, Any]]) -> None:
        self.declared = dict(parameters)

    def get_parameter(self, name: str) -> Any:
        default = self.declared[name]
        value = self.given.get(name, default)
        assert type(value) is type(default), f"{name}: ROS parameters keep the type of their default"
        return SimpleNamespace(value=value)

    def create_publisher(self, kind: Any, topic: str, depth: int) -> Any:
        assert topic == "detections"
        return SimpleNamespace(publish=self.published.append)

    def create_subscription(self, kind: Any, topic: str, callback: Any, qos: Any) -> None:
        self.subscribed = (kind, topic, callback, qos)

    def get_logger(self) -> Any:
        return SimpleNamespace(
            info=lambda text: self.told.append(("info", text)),
            error=lambda text: self.told.append(("error", text)),
        )

    def destroy_node(self) -> None:
        self.destroyed += 1


class Ros:
    """Stand-ins for the modules, and the nodes that were made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, vision: Any) -> None:
        self.parameters: dict[str, Any] = {}
        self.nodes: list[FakeNode] = []
        self.calls: list[str] = []
        self.spin: Callable[[FakeNode], None] = lambda node: None
        rclpy, qos, sensor, messages = (
            ModuleType(name) for name in ("rclpy", "rclpy.qos", "sensor_msgs.msg", "vision_msgs.msg")
        )
        vars(rclpy).update(
            create_node=self._create,
            init=lambda args: self.calls.append(f"init {args}"),
            spin=lambda node: self.spin(node),
            try_shutdown=lambda: self.calls.append("shutdown"),
        )
        vars(qos).update(QoSProfile=SimpleNamespace, ReliabilityPolicy=SimpleNamespace(BEST_EFFORT="best"))
        vars(sensor).update(Image="Image")
        vars(messages).update(vars(vision))
        for one in (rclpy, qos, sensor, messages):
            monkeypatch.setitem(sys.modules, one.__name__, one)

    def _create(self, name: str) -> FakeNode:
        self.nodes.append(FakeNode(name, self.parameters))
        return self.nodes[-1]


@pytest.fixture
def ros(monkeypatch: pytest.MonkeyPatch, vision: Any) -> Ros:
    return Ros(monkeypatch, vision)


@pytest.fixture
def start(ros: Ros, detector: sdk.Detector) -> Iterator[Callable[..., tuple[DetectorNode, FakeNode, Any]]]:
    made: list[DetectorNode] = []

    def begin(**parameters: Any) -> tuple[DetectorNode, FakeNode, Any]:
        ros.parameters.update(parameters)
        made.append(DetectorNode(detector))
        assert ros.nodes[-1].subscribed is not None
        return made[-1], ros.nodes[-1], ros.nodes[-1].subscribed[2]

    yield begin
    for node in made:
        node.close()


def test_an_image_gives_its_targets_with_its_own_header(start: Any, image: Any, plant: Any) -> None:
    node, fake, take = start()
    kind, topic, _, qos = fake.subscribed
    assert (kind, topic, qos.depth, qos.reliability) == ("Image", "image", 1, "best")
    message = image(plant((60, 80), {(20, 30): 3, (40, 50): 1}), "mono16")
    take(message)
    (array,) = fake.published
    assert array.header is message.header
    places = [(each.bbox.center.position.x, each.bbox.center.position.y) for each in array.detections]
    assert places == [(31.5, 21.5), (50.5, 40.5)]
    assert (node.processed, node.refused) == (1, 0)


def test_parameters(start: Any, image: Any, plant: Any) -> None:
    _, fake, take = start(offset_px=-0.5, centre="centroid", track=True)
    for step in range(8):
        take(image(plant((60, 80), {(20, 30): 3}, seed=step), "mono16", stamp=(7, step * 40_000_000)))
    places = [
        (each.bbox.center.position.x, each.bbox.center.position.y) for each in fake.published[0].detections
    ]
    assert places == [(pytest.approx(31, abs=0.05), pytest.approx(21, abs=0.05))]
    ids = [[each.id for each in array.detections] for array in fake.published]
    assert ids[0] == [""]
    assert ids[-1] == ["1"], "confirmed"


def test_images_that_cannot_be_used_are_told_and_the_node_goes_on(start: Any, image: Any, plant: Any) -> None:
    node, fake, take = start()
    for _ in range(3):
        take(image(np.zeros((40, 50), np.uint8), "rgb8"))
    take(image(plant((60, 80), {(20, 30): 3}), "mono16"))
    assert (node.processed, node.refused) == (1, 3)
    errors = [text for level, text in fake.told if level == "error"]
    assert len(errors) == 1, "one in a hundred"
    assert "raw counts" in errors[0]


def test_a_detector_that_cannot_be_made_leaves_no_node(ros: Ros) -> None:
    ros.parameters["model"] = "no-such-model"
    with pytest.raises(sdk.ModelError, match="no-such-model"):
        DetectorNode()
    assert ros.nodes[0].destroyed == 1


def test_main_ends_cleanly_on_ctrl_c(ros: Ros, image: Any, plant: Any) -> None:
    ros.parameters.update(model="pit-n", threshold=0.5)

    def spin(node: FakeNode) -> None:
        assert node.subscribed is not None
        node.subscribed[2](image(plant((60, 80), {(20, 30): 3}), "mono16"))
        raise KeyboardInterrupt

    ros.spin = spin
    module.main(["--ros-args"])
    assert ros.calls == ["init ['--ros-args']", "shutdown"]
    assert ros.nodes[0].destroyed == 1
    assert len(ros.nodes[0].published) == 1


def test_without_ros_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rclpy", None)
    for begin in (DetectorNode, module.main):
        with pytest.raises(sdk.MissingExtra, match=r"apt install ros-\$ROS_DISTRO-vision-msgs"):
            begin()
