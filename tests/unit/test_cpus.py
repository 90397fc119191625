"""The CPUs that a process may use: its affinity, and the limits of its control groups."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autogaze_cli.cpus import available_cpus, cgroup_limit


def system(root: Path, group: str, files: dict[str, str]) -> Path:
    """A root folder with the process's group and the files of the control groups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(group)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("group", "files", "limit"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "max 100000\n"}, 4.0),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "90000 10000\n"}, 1.0),
        ("0::/../outside\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("0::/docker/x\n", {"cpu.max": "300000 100000\n"}, 3.0),
        (
            "5:memory:/x\n4:cpu,cpuacct:/x\n",
            {
                "cpu,cpuacct/x/cpu.cfs_quota_us": "250000\n",
                "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            "4:cpu,cpuacct:/docker/abc\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            0.5,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("4:cpuset:/\n", {"cpuset/cpu.cfs_quota_us": "1\n"}, None),
        ("0::/\n", {"cpu.max": "damaged\n"}, None),
        ("0::/\n", {"cpu.max": "100 0\n"}, None),
        ("nonsense\n\n", {}, None),
    ],
)
def test_limits_of_control_groups(
    tmp_path: Path, group: str, files: dict[str, str], limit: float | None
) -> None:
    assert cgroup_limit(system(tmp_path, group, files)) == limit


def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert cgroup_limit(tmp_path) is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_a_process_that_may_use_one_cpu() -> None:
    program = (
        "import os; from autogaze_cli.cpus import available_cpus as cpus;"
        "before = cpus(); os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "print(before, cpus())"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    before, after = (int(word) for word in found.stdout.split())
    assert before == available_cpus()
    assert 1 <= before <= len(os.sched_getaffinity(0))
    assert after == 1
