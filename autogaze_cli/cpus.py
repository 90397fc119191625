"""How many CPUs this process may use."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path("/")


def available_cpus() -> int:
    """The number of CPUs in the process's affinity, or fewer if a container limits CPU time.

    At least 1. A fraction of a CPU is not counted: a thread on it would mostly wait.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    limit = cgroup_limit()
    return count if limit is None else max(1, min(count, int(limit)))


def cgroup_limit(root: Path = ROOT) -> float | None:
    """The CPU time per second that Linux control groups allow this process; None = no limit.

    The smallest limit of the process's group and its parent groups applies.

    Args:
        root: The folder that contains ``proc`` and ``sys``.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return None
    limits = []
    for line in groups:  # "0::/path" in version 2, "4:cpu,cpuacct:/path" in version 1
        hierarchy, controllers, path = [*line.split(":", 2), "", ""][:3]
        if hierarchy == "0":
            mount, read = root / "sys/fs/cgroup", _limit_v2
        elif "cpu" in controllers.split(","):
            mount, read = root / "sys/fs/cgroup" / controllers, _limit_v1
            if not mount.is_dir():
                mount = mount.with_name("cpu")
        else:
            continue
        # A container may see its own group as the mount itself, regardless of its path.
        group = mount / path.strip("/")
        limits += [read(at) for at in (group, *group.parents) if at.is_relative_to(mount)]
    return min((limit for limit in limits if limit is not None), default=None)


def _limit_v2(group: Path) -> float | None:
    """``cpu.max`` contains ``QUOTA PERIOD`` or ``max PERIOD``."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _limit_v1(group: Path) -> float | None:
    """``cpu.cfs_quota_us`` is -1 if there is no limit."""
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
