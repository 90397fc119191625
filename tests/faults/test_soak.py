"""Short forms of ``scripts/soak.py``: what one frame or clip leaves behind adds up in an hour."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.soak import Sample, table
from tests.faults.conftest import environment

_VIDEO = """
import os, sys
from pathlib import Path
from autogaze_cli.media.videos import read_frames
from scripts.soak import encode, measured

video = Path(sys.argv[1], "video.mp4")
encode(video, 960, 540, 240)
print([measured(os.getpid()) for n, _ in enumerate(read_frames(video)) if n % 40 == 39])
"""

_CLIPS = """
import os, sys
from pathlib import Path
import autogaze_cli
from scripts.soak import measured, short_clips

folder, samples = Path(sys.argv[1]), []
short_clips(folder / "clips", 24)
for n, clip in enumerate(sorted((folder / "clips").iterdir())):
    autogaze_cli.render_interframe(clip, mask_source="patch-diff", out_dir=folder / "out")
    if n % 4 == 3:
        samples.append(measured(os.getpid()))
print(samples)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.long
@pytest.mark.parametrize("code", [_VIDEO, _CLIPS], ids=["a 1080p video", "short clips"])
def test_nothing_piles_up(code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    samples = json.loads(done.stdout.replace("(", "[").replace(")", "]"))
    mib, files, threads = zip(*samples, strict=True)
    assert len(mib) == 6
    assert mib[-1] - mib[1] < 8, mib  # 160 frames, of 1.5 MiB each in RGB
    assert files[-1] <= files[0], files
    assert threads[-1] <= threads[0], threads


def test_the_table_tells_what_grows_from_what_does_not() -> None:
    steady = [Sample(n, 10 * n, 500 + n % 3, 20, 8) for n in range(100)]
    rows, flat = table("a part", steady)
    assert flat
    assert rows[-1] == "| a part | done per second | 10.00 | +0.00 |"
    for field in ("mib", "files", "threads"):
        grows = [
            Sample(**{k: getattr(s, k) for k in Sample.__slots__} | {field: getattr(s, field) + n})
            for n, s in enumerate(steady)
        ]
        assert not table("a part", grows)[1], field
        assert table("a part", grows, kept_kib=1e6)[1] == (field == "mib"), field
    slower = [Sample(n, 1000 * (n / 100) ** 0.3, 500, 20, 8) for n in range(100)]
    assert not table("a part", slower)[1]
