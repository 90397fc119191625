"""Token ids, cells, fixations, tiles and clips: the only package that computes with ids."""
