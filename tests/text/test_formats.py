from datetime import datetime

from atompaint_vae.text.formats import (
    format_bytes,
    format_count,
    format_end,
    format_size,
    format_time,
    name_size,
)


def test_format_end():
    now = datetime(2024, 12, 17, 23, 0)
    assert format_end(datetime(2024, 12, 17, 23, 59), now) == "23:59"
    assert format_end(datetime(2024, 12, 18, 0, 1), now) == "18 Dec 00:01"
    assert format_end(datetime(2025, 1, 1, 0, 1), now) == "01 Jan 2025"


def test_numbers_as_text():
    assert [format_count(x) for x in (0, 999, 1234, 5.6e6, 7e9, 1.25e12)] == [
        "0", "999", "1.23 k", "5.6 M", "7 G", "1.25 T"]  # fmt: skip
    assert [format_bytes(x) for x in (12, 2e6)] == ["12 B", "2 MB"]
    assert [format_time(x) for x in (3, 119, 3600, 12000, 200_000)] == [
        "3 s", "2 min", "60 min", "3 h 20 min", "2 d 7 h"]  # fmt: skip


def test_sizes_as_text():
    assert (name_size("latent_shape"), name_size("compression_ratio")) == ("latent", "compression")
    assert format_size("latent_shape", (9, 5, 5, 5)) == "9×5×5×5"
    assert [format_size("compression_ratio", x) for x in (10.46, 1.0)] == ["10.5×", "1.0!"]
    assert format_size("width", 3) == "3.0"
