"""Speed: what is timed, the rates it is compared with, and the comparison with an earlier run."""
