"""Token ids, cells, fixations, tiles and clips: the only place where id arithmetic is done."""
