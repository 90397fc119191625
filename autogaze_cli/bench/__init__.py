"""Benchmark: what is timed, the peak rates to compare with, and the comparison of two runs."""
