"""The classifier: two views → logits of the six faces.

Letters: b pairs of views, v = 2 views, c channels, f features, o outputs, x y z voxels,
r = 24 rotations of the cube.
"""

from collections.abc import Sequence

import torch
from e3nn.o3 import Irreps
from jaxtyping import Float
from torch import Tensor, nn

from ...nn.fields import FieldType, list_copies, parse_field_type
from ...nn.precision import ExactModule
from ...nn.rotations import calc_representation, make_octahedral_group, rotate_voxels
from ...text.formats import format_shape
from ..encoder import Encoder, check_shape
from .views import FACES, NORMALS


class MLPHead(nn.Module):
    """An ordinary multilayer perceptron on the features of both views.

    width: of its two hidden layers
    """

    def __init__(self, num_features: int, width: int, num_outputs: int = len(FACES)):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(num_features, width),
            nn.ELU(),
            nn.Linear(width, width),
            nn.ELU(),
            nn.Linear(width, num_outputs),
        )

    def forward(self, features: Float[Tensor, "b 2 f x y z"]) -> Float[Tensor, "b o"]:
        return self.layers(features.flatten(1))


class EquivariantHead(ExactModule):
    """A perceptron that scores whether the second view is beside one fixed face of the first.

    It sees the features of both views in all 24 orientations.  A face's logit is the average over
    the four that turn it to the fixed one.  Turning both views permutes the logits.

    irreps_in:   of the features
    size_voxels: their side
    """

    def __init__(self, irreps_in: Irreps, size_voxels: int, width: int):
        super().__init__()
        self.irreps_in = Irreps(irreps_in)
        self.score = MLPHead(2 * self.irreps_in.dim * size_voxels**3, width, num_outputs=1)
        rotations = make_octahedral_group()
        self.register_exact(
            "_representations",
            torch.stack([calc_representation(self.irreps_in, x) for x in rotations]),
        )
        voxels = torch.arange(size_voxels**3, dtype=torch.float64).view(1, 1, *[size_voxels] * 3)
        order = torch.stack([rotate_voxels(voxels, x).flatten().long() for x in rotations])
        self.register_buffer("_order", order, persistent=False)
        turned = torch.einsum("rij,fj->rfi", rotations, NORMALS)
        self.register_exact("_weights", (turned == NORMALS[0]).all(dim=2).double() / 4)

    def forward(self, features: Float[Tensor, "b 2 f x y z"]) -> Float[Tensor, "b 6"]:
        num_pairs = len(features)
        # One product for all orientations, then their voxels; one call of the perceptron.
        channels = torch.einsum(
            "rij,njk->rnik", self._representations, features.flatten(0, 1).flatten(2)
        )
        turned = channels.gather(3, self._order[:, None, None].expand_as(channels))
        views = turned.flatten(0, 1).unflatten(2, features.shape[3:]).unflatten(0, (-1, 2))
        return self.score(views).view(-1, num_pairs).T @ self._weights


class NeighborClassifier(nn.Module):
    """Predicts which face of a first view a second view is beside.

    One encoder sees both views.  Images are in the voxelizer's unit, the fraction of each voxel
    that atoms fill.  Inside, they are divided by `image_std`, so that their variance is about one.

    layers:       the field type after each layer, as text; each layer halves the side
    features:     the field type of the encoder's output
    num_channels: of the images
    size_voxels:  the views' side, odd
    head:         "mlp" or "equivariant"
    mlp_width:    of the head's hidden layers
    gap_A:        between views that are cut from images, see `images.predict_faces`
    image_std:    of the training images; saved with the weights
    encoder:      downsampling, convs_per_layer and the like, see `Encoder`

    raises: ValueError if a field type is invalid, the grid is too coarse for it, or the views are
            too small for the number of layers
    """

    def __init__(
        self,
        layers: Sequence[str | FieldType],
        features: str | FieldType,
        *,
        num_channels: int,
        size_voxels: int,
        head: str = "mlp",
        mlp_width: int = 128,
        gap_A: float = 3.0,
        image_std: float = 1.0,
        **encoder,
    ):
        super().__init__()
        self.layers = [parse_field_type(layer) for layer in layers]
        self.features = parse_field_type(features)
        self.irreps_in = Irreps([(num_channels, (0, 1))])
        self.size_voxels = size_voxels
        self.gap_A = gap_A
        self.encoder = Encoder(
            self.irreps_in, self.layers, self.features.irreps, size_voxels=size_voxels, **encoder
        )
        self.head = (
            EquivariantHead(self.features.irreps, self.encoder.size_out, mlp_width)
            if head == "equivariant"
            else MLPHead(2 * torch.Size(self.features_shape).numel(), mlp_width)
        )
        self.register_buffer("image_std", torch.tensor(float(image_std)))

    @property
    def image_shape(self) -> tuple[int, int, int, int]:
        """The shape of a view."""
        return (self.irreps_in.dim, *[self.size_voxels] * 3)

    @property
    def features_shape(self) -> tuple[int, int, int, int]:
        """The shape of the encoder's output for one view."""
        return (self.features.size, *[self.encoder.size_out] * 3)

    def forward(self, views: Float[Tensor, "b 2 c x y z"]) -> Float[Tensor, "b 6"]:
        """Return the logits of `FACES`; raises: ValueError for views of another shape."""
        check_shape("pairs of views", views.shape, (2, *self.image_shape))
        features = self.encoder(views.flatten(0, 1) / self.image_std)
        return self.head(features.unflatten(0, (-1, 2)))

    def calc_features(self, image: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b d"]:
        """Return numbers that describe images, and don't change when these are rotated.

        They are the fields of the encoder's last layer, scalars and the norms of each copy above
        l = 0: averages over the voxels, then standard deviations.  Invariance under the 24
        rotations of the cube is exact for a model with symmetry and exact alignment.

        image:   of any side that can be halved as often as there are layers, such as 15, 21, 35
        raises:  ValueError for other sides
        """
        fields = self.encoder.blocks(image / self.image_std)
        irreps = self.encoder.head.irreps_in
        copies = list_copies(irreps)
        dims = torch.tensor([irrep.dim for irrep in copies], device=fields.device)
        copy_of_channel = torch.arange(len(dims), device=fields.device).repeat_interleave(dims)
        zeros = fields.new_zeros(len(fields), len(dims), *fields.shape[2:])
        scalars = zeros.index_add(1, copy_of_channel, fields)
        squares = zeros.index_add(1, copy_of_channel, fields.square())
        # The gradient of the square root at 0, as in empty images, isn't finite.
        norms = squares.clamp(min=torch.finfo(squares.dtype).tiny).sqrt()
        values = torch.where((dims == 1).view(-1, 1, 1, 1), scalars, norms).flatten(2)
        return torch.cat([values.mean(dim=2), values.std(dim=2, correction=0)], dim=1)

    def extra_repr(self):
        return f"2 views {format_shape(self.image_shape)} -> {len(FACES)} faces"
