"""The core that all commands share: gaze sources, and frames in memory through them."""

from autogaze_cli.inference.source import header_of, open_source

__all__ = ["header_of", "open_source"]
