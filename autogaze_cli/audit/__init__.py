"""The audit of a source tree for local arithmetic on AutoGaze ids.

It knows nothing of the rest of the library: it reads other people's source files, in five
languages, and reports where they decode generated ids themselves. ``autogaze_cli.audit_readout``
runs it.
"""
