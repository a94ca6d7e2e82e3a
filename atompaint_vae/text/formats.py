"""Numbers, sizes and times as text, the same on the terminal and on the pages."""

from collections.abc import Sequence
from datetime import datetime, timedelta


def format_shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def format_count(number: float) -> str:
    """12.3 M, 1.23 G."""
    for factor, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= factor:
            return f"{number / factor:.3g}{unit}"
    return f"{number:g}"


def format_bytes(number: float) -> str:
    """12.3 MB, in powers of 1,000."""
    return f"{format_count(number)}B" if number >= 1e3 else f"{number:g} B"


def format_time(time_s: float) -> str:
    """42 s, 12 min, 3 h 20 min, 5 d 3 h."""
    minutes = round(time_s / 60)
    if minutes < 2:
        return f"{time_s:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def calc_end(now: datetime, remaining_s: float) -> datetime:
    """When that time is over; the end of the calendar if it is later."""
    try:
        return now + timedelta(seconds=remaining_s)
    except OverflowError:
        return datetime.max


def format_end(end: datetime, now: datetime) -> str:
    """A time of day, with the date if it isn't today's; the date alone if it is another year's."""
    if end.year != now.year:
        return end.strftime("%d %b %Y")
    return end.strftime("%H:%M" if end.date() == now.date() else "%d %b %H:%M")


def name_size(key: str) -> str:
    """Return the head of a column of sizes such as `latent_shape` or `compression_ratio`."""
    return key.removesuffix("_shape").removesuffix("_ratio").replace("_", " ")


def format_size(key: str, size: float | tuple[int, ...]) -> str:
    """Return a size as 9×5×5×5, or a ratio as 10.5×, with a mark if it is no gain: 0.8!"""
    if isinstance(size, tuple):
        return format_shape(size)
    mark = "" if not key.endswith("_ratio") else "!" if size <= 1 else "×"
    return f"{size:.1f}{mark}"
