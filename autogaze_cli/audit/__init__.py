"""The audit of a source tree for local arithmetic on AutoGaze ids.

It knows nothing of the rest of the library: it reads other people's source files, in five
languages, and says where they decode generated ids themselves.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Audit(ModuleType):
    """This package, which stands for the call ``autogaze_cli.audit`` once it has been imported."""

    def __call__(self, *paths: Any, **settings: Any) -> Any:
        """See ``autogaze_cli.api.audit``."""
        from autogaze_cli import api

        return api.audit(*paths, **settings)


# Importing a package puts it into its parent, in the place of a function of the same name.
sys.modules[__name__].__class__ = _Audit
