"""Halving and doubling the side of an image without losing the cube's symmetry."""


def choose_padding(size: int, kernel_size: int = 3) -> int:
    """The padding with which a convolution of stride 2 takes an odd side to an odd side.

    35 → 17 → 9 → 5 → 3, for kernels of any odd side.  The convolution is exactly equivariant to the
    24 rotations of the cube only if its positions are symmetric about the image's centre,
    (size + 2·padding − kernel_size) mod 2 = 0; of an odd side that is so for any padding, of an
    even side for none, so the side is kept odd.

    raises: ValueError if the side is even or below 3
    """
    if size % 2 == 0 or size < 3:
        raise ValueError(f"can't halve an image of {size} voxels a side: expected odd, >= 3")
    return kernel_size // 2 - (size - 1) // 2 % 2


def calc_halved_size(size: int) -> int:
    """The side that `choose_padding` leads to."""
    return (size + 2 * choose_padding(size) - 3) // 2 + 1
