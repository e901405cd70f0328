# SPDX-License-Identifier: Apache-2.0
"""Follow a source and print what is found in each frame.

python examples/stream.py                      a synthetic scene
python examples/stream.py video.mkv            a video, a folder of images, or a quoted pattern
python examples/stream.py /dev/video0          a camera: the newest frame, older ones are dropped and counted;
                                               one that is lost is opened again
python examples/stream.py rtsp://camera/live out.mp4    ... and write an annotated video
"""

import sys

from pitviper import sdk
from pitviper.sdk.sinks import open_sinks


def main(source: str = "synthetic://cloud?frames=40", video: str | None = None) -> None:
    """Print one line a frame, and the counts at the end; Ctrl-C ends with complete outputs."""
    with sdk.Detector() as detector, sdk.open_reconnecting(source) as frames:
        sinks = open_sinks(video=video, fps=frames.info.fps, keep=frames.files)
        with detector.stream(frames, sinks=sinks) as stream:
            try:
                for found in stream:
                    places = "  ".join(
                        f"({target.x:.1f}, {target.y:.1f}) {target.score:.2f}" for target in found
                    )
                    print(f"frame {found.frame_id}: {len(found)} targets  {places}")
            except KeyboardInterrupt:
                pass
        stats = stream.stats
        print(
            f"{stats.processed} of {stats.captured} frames, dropped {dict(stats.dropped)}, {stats.fps:.1f} fps"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
