"""Many inputs: the plan, the engines that carry it out, the manifest, and the one report.

What is done for one input is a ``Work``, of which nothing is known here but that it can be opened.
"""
