"""Batches of inputs: the plan, the engines that run it, the manifest, and the report.

The processing of one input is a ``Work``; this package knows only that it can be opened.
"""
