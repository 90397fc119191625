"""Tone mapping: PQ and HLG pictures as BT.709 ones, as FFmpeg's zscale and tonemap=hable do it."""

from __future__ import annotations

import struct

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from autogaze_cli.media.colour import BT709, HLG, PQ
from autogaze_cli.media.filters import Pixels
from autogaze_cli.media.orientation import side_data

Floats = NDArray[np.float32]

_WHITE = 100.0
"""Candela per square metre of the white of an ordinary picture."""

_PEAK = 10.0
"""The brightest of a picture that does not state it, in units of that white."""

_DESATURATE = 2.0
"""Luminance, in the same units, above which colours lose saturation."""

# x and y of red, green, blue and white, by the number of the primaries (ITU-T H.273).
_CHROMATICITIES = {
    BT709: (0.64, 0.33, 0.30, 0.60, 0.15, 0.06),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
_D65 = (0.3127, 0.3290)


def is_hdr(transfer: int) -> bool:
    """Whether a transfer characteristic is of a picture brighter than a display's white."""
    return transfer in (PQ, HLG)


def stated_peak(frame: VideoFrame) -> float:
    """The brightest that a frame may show, in units of 100 candela per square metre."""
    light = side_data(frame, "CONTENT_LIGHT_LEVEL")
    if light is not None:
        (most,) = struct.unpack_from("<I", bytes(light))
        if most:
            return float(most / _WHITE)
    mastering = side_data(frame, "MASTERING_DISPLAY_METADATA")
    if mastering is not None:
        # Eight rationals of chromaticities and one of the minimum come before the maximum.
        numerator, denominator, _, has_luminance = struct.unpack_from("<4i", bytes(mastering), 72)
        if has_luminance and numerator > 0 and denominator > 0:
            return float(numerator / denominator / _WHITE)
    return _PEAK


class ToneMapper:
    """Maps PQ or HLG pictures to BT.709.

    Args:
        transfer: ``PQ`` or ``HLG``.
        primaries: Number of the picture's primaries; BT.2020 where unspecified.
    """

    def __init__(self, transfer: int, primaries: int) -> None:
        codes = np.arange(65536, dtype=np.float64) / 65535
        linear = _pq_to_linear(codes) if transfer == PQ else _hlg_to_linear(codes)
        self._linear = linear.astype(np.float32)
        own = _to_xyz(primaries if primaries in _CHROMATICITIES else 9)
        self._matrix = (np.linalg.inv(_to_xyz(BT709)) @ own).astype(np.float32)
        # Like FFmpeg's filter: the weights of the tagged primaries, though they are others by now.
        self._luma = own[1].astype(np.float32)
        shown = _bt709_from_linear(np.arange(65536, dtype=np.float64) / 65535)
        self._shown = np.round(255 * shown).astype(np.uint8)

    def __call__(self, rgb: NDArray[np.uint16], peak: float) -> Pixels:
        """Map one picture.

        Args:
            rgb: uint16 ``[h, w, 3]``, full range, as tagged.
            peak: Its brightest, in units of 100 candela per square metre.

        Returns:
            uint8 ``[h, w, 3]``.
        """
        result = np.empty(rgb.shape, np.uint8)
        # A few rows at a time stay in the processor's cache.
        for top in range(0, len(rgb), 16):
            result[top : top + 16] = self._rows(rgb[top : top + 16], peak)
        return result

    def _rows(self, rgb: NDArray[np.uint16], peak: float) -> Pixels:
        light = self._linear[rgb] @ self._matrix.T
        luma = light @ self._luma
        over = np.maximum(luma - _DESATURATE, 1e-6) / np.maximum(luma, 1e-6)
        light += (luma[..., None] - light) * over[..., None]
        signal = np.maximum(light.max(-1), 1e-6)
        scale = _hable(signal) / (_hable(np.full(1, peak, np.float32)) * signal)
        light *= scale[..., None]
        indices = np.clip(light * 65535 + 0.5, 0, 65535).astype(np.uint16)
        shown: Pixels = self._shown[indices]
        return shown


def _hable(light: Floats) -> Floats:
    """The filmic curve of Hable."""
    a, b, c, d, e, f = 0.15, 0.50, 0.10, 0.20, 0.02, 0.30
    curve = (light * (a * light + b * c) + d * e) / (light * (a * light + b) + d * f) - e / f
    return curve.astype(np.float32, copy=False)


def _pq_to_linear(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084, in units of the ordinary white."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = codes ** (1 / m2)
    return (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) * (10000 / _WHITE)


def _hlg_to_linear(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """ARIB STD-B67 on a display of 1000 candela, its gamma of 1.2 channel by channel."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)
    return scene**1.2 * (1000 / _WHITE)


def _bt709_from_linear(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """BT.709's curve as displays undo it (BT.1886)."""
    return light ** (1 / 2.4)


def _to_xyz(primaries: int) -> NDArray[np.float64]:
    """The matrix from linear RGB to CIE XYZ."""
    xy = np.array(_CHROMATICITIES[primaries]).reshape(3, 2)
    xyz = np.column_stack([xy[:, 0], xy[:, 1], 1 - xy.sum(1)]) / xy[:, 1:]
    white = np.array([_D65[0], _D65[1], 1 - sum(_D65)]) / _D65[1]
    matrix: NDArray[np.float64] = xyz.T * np.linalg.solve(xyz.T, white)
    return matrix
