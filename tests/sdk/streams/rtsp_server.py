# SPDX-License-Identifier: Apache-2.0
"""A local RTSP camera for the tests: numbered pictures through GStreamer's server, run by the system's Python.

    /usr/bin/python3 rtsp_server.py PORT CODEC [CHANGE_AT]

CODEC is ``jpeg`` (each picture by itself) or ``h264``. From picture CHANGE_AT on they are wider. It prints ``ready``
when it listens. Each connection sees pictures from number 0: 24 blocks of a row stand for the bits of the number.
"""

import sys

import gi

for _name in ("Gst", "GstRtsp", "GstRtspServer"):
    gi.require_version(_name, "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - the versions come first

FPS = 50
BLOCK = 8
BITS = 24
HEIGHT = 64
ENCODERS = {
    "jpeg": "jpegenc quality=95 ! rtpjpegpay name=pay0 pt=26 mtu=600",
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=5 bitrate=4000 ! "
    "rtph264pay name=pay0 pt=96 config-interval=-1 mtu=600",
}


def picture(number: int, width: int) -> bytes:
    """Gray pixels with the number on top and a target that wanders."""
    top = b"".join(bytes([220 if number >> bit & 1 else 30]) * BLOCK for bit in range(BITS))
    rows = [(top + bytes([30]) * width)[:width]] * (2 * BLOCK)
    # Unlike any other picture all over, so that no lost packet goes unseen.
    rows += [
        bytes(90 + (row * 7 + at * 3 + number * 5) % 24 for at in range(width)) for row in range(16, HEIGHT)
    ]
    left = 5 + number % (width - 12)
    for row in range(40, 43):
        rows[row] = rows[row][:left] + bytes([250]) * 3 + rows[row][left + 3 :]
    return b"".join(rows)


class Camera(GstRtspServer.RTSPMediaFactory):
    """Makes the pipeline of each connection and fills it."""

    def __init__(self, codec: str, change_at: int) -> None:
        super().__init__()
        self._change_at = change_at
        self.set_launch(
            f"( appsrc name=source is-live=true format=time max-buffers=4 block=true ! videoconvert ! "
            f"video/x-raw,format=I420 ! {ENCODERS[codec]} )"
        )
        self.connect("media-configure", self._configure)

    def _configure(self, factory: object, media: GstRtspServer.RTSPMedia) -> None:
        state = {"number": 0, "width": 0}
        source = media.get_element().get_by_name("source")

        def tick() -> bool:
            number = state["number"]
            width = 192 if number < self._change_at else 256
            if width != state["width"]:
                caps = f"video/x-raw,format=GRAY8,width={width},height={HEIGHT},framerate={FPS}/1"
                source.set_property("caps", Gst.Caps.from_string(caps))
                state["width"] = width
            buffer = Gst.Buffer.new_wrapped(picture(number, width))
            buffer.pts = number * Gst.SECOND // FPS
            buffer.duration = Gst.SECOND // FPS
            state["number"] += 1
            return source.emit("push-buffer", buffer) == Gst.FlowReturn.OK

        GLib.timeout_add(1000 // FPS, tick)


def main() -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    change_at = int(sys.argv[3]) if len(sys.argv) > 3 else 1 << BITS
    server.get_mount_points().add_factory("/live", Camera(sys.argv[2], change_at))
    if not server.attach(None):
        sys.exit(f"port {sys.argv[1]} cannot be listened on")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
