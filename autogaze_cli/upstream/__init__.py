"""The published package's interface on this project's engine.

``install()`` makes ``import autogaze...`` work; see ``docs/upstream.md``.
"""

from autogaze_cli.upstream.compare import verify
from autogaze_cli.upstream.modules import install
from autogaze_cli.upstream.swap import accelerate

__all__ = ["accelerate", "install", "verify"]
