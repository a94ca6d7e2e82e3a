"""Numbers, sizes and times as text, for the terminal and the pages."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any


def format_shape(shape: Sequence[int | str]) -> str:
    """Return a shape such as 9×5×5×5."""
    return "×".join(map(str, shape))


def format_count(number: float) -> str:
    """Return a count such as 12.3 M or 1.23 G."""
    for factor, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= factor:
            return f"{number / factor:.3g}{unit}"
    return f"{number:g}"


def format_bytes(number: float) -> str:
    """Return a number of bytes such as 12.3 MB, in powers of 1,000."""
    return f"{format_count(number)}B" if number >= 1e3 else f"{number:g} B"


def format_time(time_s: float) -> str:
    """Return a duration such as 42 s, 12 min, 3 h 20 min or 5 d 3 h."""
    minutes = round(time_s / 60)
    if minutes < 2:
        return f"{time_s:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def format_exact_time(time: timedelta) -> str:
    """Return a duration to the second, such as 12 min 5 s; from an hour on, to the minute."""
    minutes, seconds = divmod(round(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def calc_end(now: datetime, remaining_s: float) -> datetime:
    """Return when the remaining time is over, at most the end of the calendar."""
    try:
        return now + timedelta(seconds=remaining_s)
    except OverflowError:
        return datetime.max


def format_end(end: datetime, now: datetime) -> str:
    """Return a time of day, with the date unless it is today; only the date in another year."""
    if end.year != now.year:
        return end.strftime("%d %b %Y")
    return end.strftime("%H:%M" if end.date() == now.date() else "%d %b %H:%M")


def format_value(value: float | str | None) -> str:
    """Return a property as tables show it: numbers with six digits, a missing value as a dash."""
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def format_hparam(value: Any) -> str:
    """Return a hyperparameter; the items of a list are joined by arrows."""
    return " → ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def round_number(number: float) -> str:
    """Return a number with four digits, or more before the point, in groups of thousands."""
    return f"{number:,.0f}" if 1000 <= abs(number) < 1e12 else f"{number:.4g}"


def round_cell(text: str) -> str:
    """Round a number to four digits, but keep all before the point, as ``runs.js`` does."""
    if not text or (value := float(text)).is_integer():
        return text.removesuffix(".0")
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.4g}".rstrip(".")


def name_size(key: str) -> str:
    """Return the head of a column of sizes such as `latent_shape` or `compression_ratio`."""
    return key.removesuffix("_shape").removesuffix("_ratio").replace("_", " ")


def format_size(key: str, size: float | tuple[int, ...]) -> str:
    """Return a size as 9×5×5×5, or a ratio as 10.5×, marked if the latent isn't smaller: 0.8!"""
    if isinstance(size, tuple):
        return format_shape(size)
    mark = "" if not key.endswith("_ratio") else "!" if size <= 1 else "×"
    return f"{size:.1f}{mark}"
