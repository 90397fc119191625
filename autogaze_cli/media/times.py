"""Times and rates as people write them, read exactly."""

from __future__ import annotations

import re
from fractions import Fraction

from autogaze_cli.errors import ConfigError


def parse_rate(value: object) -> Fraction:
    """Frames per second: ``8``, ``29.97`` or ``30000/1001``.

    Raises:
        ConfigError: It is not a rate from 0.001 to 1000.

    >>> parse_rate("30000/1001")
    Fraction(30000, 1001)
    """
    text = str(value)
    try:  # an exponent of four digits is out of range, and one of eight takes hours to compute
        rate = Fraction(0) if re.search(r"[eE][+-]?[\d_]{4}", text) else Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not Fraction(1, 1000) <= rate <= 1000:
        raise ConfigError(
            f"must be frames per second from 0.001 to 1000 (8, 29.97 or 30000/1001), not {value!r}"
        )
    return rate


def parse_time(value: object) -> Fraction:
    """Seconds, or ``[hours:]minutes:seconds``.

    Raises:
        ConfigError: It is not a time of at least 0.

    >>> parse_time("1:02.5"), parse_time(0.5)
    (Fraction(125, 2), Fraction(1, 2))
    """
    if isinstance(value, Fraction) and value >= 0:
        return value
    text = str(value)
    if not re.fullmatch(r"(\d{1,400}:){0,2}\d{1,400}(\.\d{0,400})?", text):
        raise ConfigError(
            f"must be seconds or hours:minutes:seconds (12.5 or 1:02:03), not {text!r}"
        )
    seconds = Fraction(0)
    for part in text.split(":"):
        seconds = seconds * 60 + Fraction(part.rstrip("."))
    return seconds
