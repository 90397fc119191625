"""The audit of a source tree for local arithmetic on AutoGaze ids.

It knows nothing of the rest of the library: it reads other people's source files, in five
languages, and says where they decode generated ids themselves.
"""
