import datetime

import pytest

from atompaint_vae.notebook.tables.number_formats import format_serial

# What spreadsheets show, from the examples of ECMA-376 and of the programs' handbooks.
SHOWN = [
    (0.475, "0%", "48%"),
    (0.123456, "0.0%", "12.3%"),
    (150000, '"$"#,##0', "$150,000"),
    (-5, "[$€-407] #,##0.00", "-€ 5.00"),
    (1234.5, '#,##0.00 "€"', "1,234.50 €"),
    (1234567, "#,##0", "1,234,567"),
    (999, "#,##0", "999"),
    (12200000, "0.0,,", "12.2"),
    (12200000, '0.0,,"M"', "12.2M"),
    (1.005, "0.00", "1.01"),
    (2.5, "0", "3"),
    (-0.001, "0.00", "0.00"),
    (7, "000", "007"),
    (0, "#", ""),
    (1234567890, "(000) 000-0000", "(123) 456-7890"),
    (0.5, "#.##", ".5"),
    (44.398, "???.???", " 44.398"),
    (1.5e-7, "0.00E+00", "1.50E-07"),
    (99950, "0.0E+0", "1.0E+5"),
    (12345, "##0.0E+0", "12.3E+3"),
    (0.25, "# ?/?", "1/4"),
    (5.3, "# ??/??", "5 3/10"),
    (1.5, "# ?/8", "1 4/8"),
    (1.5, "?/?", "3/2"),
    (-12.5, "#,##0.00_);(#,##0.00)", "(12.50)"),
    (12.5, "#,##0.00_);(#,##0.00)", "12.50 "),
    (-12.5, "_-* #,##0.00_-;-* #,##0.00_-", "-12.50 "),
    (0, '0;-0;"none"', "none"),
    (5, ";;;", ""),
    (50, '[<100]0.0;0', "50.0"),
    (500, '[<100]0.0;0', "500"),
    (-3, "[Red]0", "-3"),
    (3, '0 "runs"', "3 runs"),
    (3.25, 'General "km"', "3.25 km"),
    (45643, "dd/mm/yyyy", "17/12/2024"),
    (45643, "d-mmm-yy", "17-Dec-24"),
    (45643, "dddd, mmmm d, yyyy", "Tuesday, December 17, 2024"),
    (45643.3541666667, "yyyy-mm-dd hh:mm", "2024-12-17 08:30"),
    (45643.99999999, "yyyy-mm-dd hh:mm:ss", "2024-12-18 00:00:00"),
    (0.75, "h:mm AM/PM", "6:00 PM"),
    (0, "h:mm AM/PM", "12:00 AM"),
    (1.04375, "[h]:mm", "25:03"),
    (-1.04375, "[h]:mm", "-25:03"),
    (1.04375, "[mm]:ss", "1503:00"),
    (1.5 / 86400, "mm:ss.0", "00:01.5"),
    (1, "yyyy-mm-dd", "1900-01-01"),
    (61, "yyyy-mm-dd", "1900-03-01"),
]
BY_READER = [(0.1, "General"), (45643, "[$-F800]dddd"), (45643, "mm-dd-yy"), (1, "@")]


@pytest.mark.parametrize("value, code, expected", SHOWN)
def test_shown(value, code, expected):
    assert format_serial(value, code) == expected


@pytest.mark.parametrize("value, code", BY_READER)
def test_what_depends_on_the_reader_has_no_text(value, code):
    assert format_serial(value, code) is None


def test_dates_since_1904():
    assert format_serial(1, "yyyy-mm-dd", datetime.datetime(1904, 1, 1)) == "1904-01-02"


@pytest.mark.parametrize("code", ["0" * 30, "yyyy[h]E+", "#/", "?/0", ".", "E+0", "[<]0", '"'])
@pytest.mark.parametrize("value", [1e300, -1e-300, 0, 10**20])
def test_odd_codes_show_something(value, code):
    assert format_serial(value, code) is None or isinstance(format_serial(value, code), str)
