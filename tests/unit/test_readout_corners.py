"""The first and last token of a grid, and those just outside."""

from autogaze_cli import readout as ro


def test_tokens_and_their_places() -> None:
    grid = ro.SparseVideoReadoutGrid(2, 7, 7)
    places = {0: (0, 0, 0), 6: (0, 0, 6), 7: (0, 1, 0), 48: (0, 6, 6), 49: (1, 0, 0), 97: (1, 6, 6)}
    assert {token: grid.token_coords(token) for token in places} == places
    assert [grid.token_coords(token) for token in (-1, 98)] == [None, None]
