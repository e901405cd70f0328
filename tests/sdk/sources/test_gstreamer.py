# SPDX-License-Identifier: Apache-2.0
"""GStreamer pipelines: the real library in a Python of its own where the system has it, and its absence anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pitviper import sdk
from pitviper.sdk.sources import gstreamer, open_source

# Where distributions keep PyGObject, which pip does not install.
SYSTEM = Path("/usr/lib/python3/dist-packages")

RUN = """
import importlib.util, sys, threading
sys.path.append(sys.argv[1])
import numpy as np
if importlib.util.find_spec("gi") is None:
    sys.exit("no gi in this system")
try:
    import gi
    gi.require_version("Gst", "1.0"), gi.require_version("GstVideo", "1.0")
except (ImportError, ValueError) as error:
    sys.exit(f"no GStreamer for this Python: {error}")
from pitviper import sdk
from pitviper.sdk.sources import open_source

CAPS = "video/x-raw,format={},width=50,height=40,framerate=25/1"
words = "gst://videotestsrc num-buffers=4 pattern=gradient ! " + CAPS.format("GRAY16_LE")
with open_source(words, timeout_s=10) as source:
    frames = list(source)
assert [frame.index for frame in frames] == [0, 1, 2, 3]
assert frames[0].image.dtype == np.uint16 and frames[0].image.shape == (40, 50)
assert len(np.unique(frames[0].image)) > 30, "sixteen bits were lost"
assert [frame.time.sensor_ns for frame in frames] == [0, 40_000_000, 80_000_000, 120_000_000]
swapped = list(open_source(words.replace("_LE", "_BE"), timeout_s=10))
assert np.array_equal(swapped[0].image, frames[0].image)
(gray,) = open_source("gst://videotestsrc num-buffers=1 ! " + CAPS.format("I420"), timeout_s=10)
assert gray.image.dtype == np.uint8 and gray.flags == ("colour_ignored",)

def refused(text, kind, expected):
    try:
        list(open_source(text, timeout_s=0.3))
    except kind as error:
        assert expected in str(error) and "s3cret" not in f"{error} {error.__context__} {error.__cause__}", error
    else:
        raise AssertionError(text)

refused("gst://nosuchelement location=rtsp://user:s3cret@camera", sdk.SourceError, "nosuchelement")
refused("gst://filesrc location=/nowhere ! decodebin", sdk.SourceError, "filesrc")
refused("gst://appsrc is-live=true", sdk.SourceTimeout, "no frame for 0.3 s")

silent = open_source("gst://appsrc is-live=true", timeout_s=1000)
threading.Timer(0.05, silent.interrupt).start()
assert next(silent, None) is None, "a wait ends when it is interrupted"
print("done")
"""


def test_pipelines_of_the_system(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(SYSTEM)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=60,
    )
    if done.stderr.startswith("no "):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"


def test_without_gstreamer_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(gstreamer, "import_module", absent)
    with pytest.raises(sdk.MissingExtra, match="apt install python3-gi"):
        open_source("gst://videotestsrc")
