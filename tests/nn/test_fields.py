import pytest

from atompaint_vae.nn.fields import count_copies, parse_field_type


@pytest.mark.parametrize(("frequency", "size"), [(0, 1), (1, 10), (2, 35), (3, 84)])
def test_fourier_field_sizes(frequency, size):
    field_type = parse_field_type(f"1xfourier{frequency}")
    assert field_type.size == field_type.irreps.dim == size


@pytest.mark.parametrize(("frequency", "size"), [(0, 1), (1, 4), (2, 9), (3, 16)])
def test_quotient_field_sizes(frequency, size):
    field_type = parse_field_type(f"1xquotient{frequency}")
    assert field_type.size == field_type.irreps.dim == size


def test_fields_stay_in_order():
    field_type = parse_field_type("2xfourier1 + 3x0e+1x2e")
    assert str(field_type) == "2xfourier1+3x0e+1x2e"
    assert str(field_type.irreps) == "1x0e+3x1e+1x0e+3x1e+3x0e+1x2e"
    assert field_type.size == 2 * 10 + 3 + 5
    assert count_copies(field_type.irreps) == 2 * 4 + 3 + 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4xforier2", "field type '4xforier2': can't read '4xforier2'; expected '4xfourier2', "),
        ("8x0e+", "field type '8x0e+': can't read ''"),
        ("0x0e", "field type '0x0e': can't read '0x0e'"),
        ("1x1o", "can't read '1x1o'"),
        ("1xfourier4", "field type '1xfourier4': frequency 4 is above 3"),
    ],
)
def test_unreadable_fields(text, message):
    with pytest.raises(ValueError) as error:
        parse_field_type(text)
    assert message in str(error.value)
