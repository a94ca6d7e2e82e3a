"""Every layer turns with its input, exactly, under the 24 rotations of the cube.

In float64, rounding alone is about 1e-15 a number; 1e-12 allows for sums of thousands.
"""

import itertools
import warnings

import numpy as np
import pytest
import torch
from e3nn.o3 import Irreps

from atompaint_vae.nn import (
    FieldNonlinearity,
    FourierNonlinearity,
    Gate,
    InstanceNorm,
    IrrepsNorm,
    NormNonlinearity,
    SteerableConv,
    TensorProductNonlinearity,
    calc_equivariance_error,
    calc_exact_equivariance_error,
    parse_field_type,
)
from atompaint_vae.nn.conv import EquivarianceWarning, calc_halved_size, choose_padding
from atompaint_vae.nn.grids import DEFAULT_GRIDS, GRIDS, calc_analysis, calc_synthesis, load_grid
from atompaint_vae.nn.nonlinearities.mixed import IRREPS_NONLINEARITIES
from atompaint_vae.nn.nonlinearities.pointwise import POINTWISE_FUNCTIONS, PointwiseFunction
from atompaint_vae.nn.norm import recompute_statistics
from atompaint_vae.nn.rotations import calc_representation, make_octahedral_group

EXACT = 1e-12
MIXED = Irreps("2x0e+1x1e+1x2e+1x0e")


@pytest.fixture(autouse=True)
def _use_float64():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def calc_error(module, size, irreps_in=None, irreps_out=None):
    irreps_in, irreps_out = irreps_in or module.irreps_in, irreps_out or module.irreps_out
    image = torch.randn(1, irreps_in.dim, size, size, size)
    return calc_exact_equivariance_error(module, image, irreps_in=irreps_in, irreps_out=irreps_out)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (5, {"padding": 1}),
        (5, {"stride": 2}),
        (5, {"stride": 2, "padding": 1}),
        (3, {"kernel_size": 1}),
        (5, {"kernel_size": 5, "padding": 1}),
        (3, {"stride": 2, "padding": 1, "transposed": True}),
        (3, {"stride": 2, "transposed": True, "bias": True}),
    ],
)
@pytest.mark.parametrize("fields_out", ["1xfourier1+1x0e", "1x2e+1xquotient1", "1x0e+1x3e+1x1e"])
def test_convolution(size, options, fields_out):
    conv = SteerableConv(MIXED, parse_field_type(fields_out).irreps, **options)
    if conv.bias is not None:
        torch.nn.init.normal_(conv.bias)
    assert calc_error(conv, size) < EXACT


def test_the_measure_sees_a_layer_that_is_not_equivariant():
    # An even side with stride 2: the positions are off the image's centre.
    conv = SteerableConv(MIXED, MIXED, stride=2, padding=1)
    assert calc_error(conv, 8) > 0.1
    assert calc_error(torch.nn.Conv3d(MIXED.dim, MIXED.dim, 3), 5, MIXED, MIXED) > 0.1


@pytest.mark.parametrize(
    ("kernel_size", "l_in", "l_out"),
    [
        (1, 1, 1),
        (1, 1, 2),
        (3, 0, 0),
        (3, 0, 1),
        (3, 1, 1),
        (3, 1, 2),
        (3, 2, 2),
        (5, 0, 0),
        (5, 0, 1),
    ],
)
def test_kernel_basis_spans_no_more_than_the_cubes_steerable_kernels(kernel_size, l_in, l_out):
    # Independent count: kernels that the 24 rotations leave alone, by averaging over the group.
    # SO(3)'s are among them, and on a lattice the two differ, so this bounds from above; on the
    # centre's voxel alone, Schur's lemma gives the number exactly.
    from atompaint_vae.nn.conv import make_kernel_basis

    basis = make_kernel_basis(l_in, l_out, kernel_size)
    gram = torch.einsum("amnxyz,bmnxyz->ab", basis, basis)
    assert torch.allclose(gram, torch.eye(len(basis)), atol=1e-12)

    volume = kernel_size**3
    shape = (2 * l_out + 1, 2 * l_in + 1, *[kernel_size] * 3)
    every = torch.eye(shape[0] * shape[1] * volume).view(-1, *shape)
    mean = torch.zeros_like(every)
    for rotation in make_octahedral_group():
        d_out = calc_representation(Irreps([(1, (l_out, 1))]), rotation)
        d_in = calc_representation(Irreps([(1, (l_in, 1))]), rotation)
        order = rotation.abs().argmax(dim=1).tolist()
        flips = [3 + i for i in range(3) if rotation[i, order[i]] < 0]
        turned = every.permute(0, 1, 2, *(3 + i for i in order)).flip(flips)
        mean += torch.einsum("ai,kijxyz,bj->kabxyz", d_out, turned, d_in) / 24
    projector = mean.flatten(1)
    assert torch.allclose(basis.flatten(1) @ projector, basis.flatten(1), atol=1e-12)
    num_cubic = round(projector.trace().item())
    assert len(basis) <= num_cubic
    if kernel_size == 1:
        assert len(basis) == (l_in == l_out)
    if l_in == l_out == 0:
        # One for each distance from the centre.
        assert len(basis) == {1: 1, 3: 4, 5: 10}[kernel_size]


def test_convolution_keeps_the_variance():
    torch.set_default_dtype(torch.float32)
    halved = {"stride": 2, "padding": 1}
    for options in ({"padding": 1}, halved, {**halved, "transposed": True}):
        conv = SteerableConv(Irreps("6x0e+6x1e+6x2e"), Irreps("20x0e+20x1e+20x2e"), **options)
        image = torch.randn(4, conv.irreps_in.dim, 9, 9, 9)
        inner = conv(image)[..., 1:-1, 1:-1, 1:-1]
        for part, dim in zip(inner.split([20, 60, 100], dim=1), (1, 3, 5), strict=True):
            assert part.var().item() == pytest.approx(1, rel=0.2), (options, dim)


def set_parameters(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)


@pytest.mark.parametrize("make", [IrrepsNorm, InstanceNorm])
def test_norms_are_equivariant(make):
    norm = make(MIXED)
    set_parameters(norm)
    assert calc_error(norm, 5) < EXACT


def test_norm_normalises():

    norm = IrrepsNorm(Irreps("1x0e+1x1e"))
    image = 3 * torch.randn(4, 4, 5, 5, 5) + torch.tensor([7.0, 0, 0, 0]).view(4, 1, 1, 1)
    result = norm(image)
    assert result[:, 0].mean().abs() < 1e-12
    assert result[:, 0].var(unbiased=False).item() == pytest.approx(1, abs=1e-5)
    assert result[:, 1:].square().mean().item() == pytest.approx(1, abs=1e-5)


def test_norm_of_scalars_is_torchs_batch_norm():
    ours, theirs = IrrepsNorm(Irreps("5x0e")), torch.nn.BatchNorm3d(5)
    weights = torch.randn(5)
    for _ in range(3):
        image = 2 * torch.randn(3, 5, 4, 4, 4) + 1
        image_ours = image.clone().requires_grad_()
        image_theirs = image.clone().requires_grad_()
        result_ours, result_theirs = ours(image_ours), theirs(image_theirs)
        assert torch.allclose(result_ours, result_theirs)
        (result_ours.square() @ weights[:4]).sum().backward()
        (result_theirs.square() @ weights[:4]).sum().backward()
        # A detached mean or variance would show here.
        assert torch.allclose(image_ours.grad, image_theirs.grad)
    assert torch.allclose(ours.running_mean, theirs.running_mean)
    # torch's running variance is the unbiased one, of 3·4³ numbers.
    num = 3 * 4**3
    unbiased = 1 + (ours.running_var - 0.9**3) * num / (num - 1) - (1 - 0.9**3)
    assert torch.allclose(unbiased, theirs.running_var)
    ours.eval(), theirs.eval()
    assert torch.allclose(ours(image), theirs(image), rtol=0.01)


def test_instance_norm_of_scalars_is_torchs():
    ours, theirs = InstanceNorm(Irreps("5x0e")), torch.nn.InstanceNorm3d(5, affine=True)
    set_parameters(ours)
    theirs.load_state_dict(ours.state_dict())
    image = 2 * torch.randn(3, 5, 4, 4, 4) + 1
    for _ in range(2):
        assert torch.allclose(ours(image), theirs(image))
        ours.eval()


def test_instance_norm_of_one_image_is_batch_norm():
    alone, batch = InstanceNorm(MIXED), IrrepsNorm(MIXED)
    set_parameters(alone)
    batch.load_state_dict(alone.state_dict(), strict=False)
    images = torch.randn(3, MIXED.dim, 4, 4, 4) * torch.tensor([1.0, 3, 9]).view(3, 1, 1, 1, 1)
    # Of several images, each is normalised as if it were alone.
    assert torch.allclose(alone(images), torch.cat([batch(image[None]) for image in images]))


def test_instance_norm_has_no_statistics_to_recompute():
    recompute_statistics(InstanceNorm(MIXED), pytest.fail, ["a batch that nobody runs"])


@pytest.mark.parametrize("irreps", ["gate", "tensor_product"])
@pytest.mark.parametrize("function", ["elu", "relu", "hermite"])
@pytest.mark.parametrize(
    "fields", ["2xfourier2", "3xquotient3", "1xfourier1+4x0e+2x1e+1xquotient2"]
)
def test_nonlinearity(fields, function, irreps):
    module = FieldNonlinearity(fields, grid="octahedral_96", function=function, irreps=irreps)
    assert calc_error(module, 3) < EXACT


@pytest.mark.parametrize("make", [Gate, NormNonlinearity, TensorProductNonlinearity])
def test_nonlinearities_of_irreps_turn_freely(make):
    # They make no use of a grid: exact under any rotation, voxels apart.
    gate = make(Irreps("2x0e+2x1e+1x3e"), function="elu")
    rotation = torch.linalg.matrix_exp(torch.tensor([[0, -1.0, 0.5], [1, 0, -0.2], [-0.5, 0.2, 0]]))
    image = torch.randn(1, gate.irreps_in.dim, 2, 2, 2)

    def turn(image, irreps):
        return torch.einsum("ij,bjxyz->bixyz", calc_representation(irreps, rotation), image)

    assert torch.allclose(gate(turn(image, gate.irreps_in)), turn(gate(image), gate.irreps_out))


def test_frequency_3_on_the_finest_grid():
    module = FieldNonlinearity("1xfourier3", grid="octahedral_192", function="elu")
    assert calc_error(module, 3) < EXACT


def test_norms_by_hand():
    norm = NormNonlinearity(Irreps("1x0e+1x1e"), function="elu")
    norm.bias.data.fill_(0.5)
    # The root mean square of 1, 2 and 2 is √3.
    image = torch.tensor([-1.0, 1.0, 2.0, 2.0])[None, :, None, None, None]
    factor = 1 / (1 + np.exp(-(3**0.5) - 0.5))
    expected = [np.exp(-1) - 1, factor, 2 * factor, 2 * factor]
    assert np.allclose(norm(image).detach().flatten().numpy(), expected)
    # Nothing has no direction, and no gradient that is not a number.
    nothing = torch.zeros(1, 4, 1, 1, 1, requires_grad=True)
    norm(nothing).sum().backward()
    assert nothing.grad.isfinite().all()


@pytest.mark.parametrize(("frequency", "num_points"), [(0, 48), (1, 48), (2, 96), (3, 192)])
def test_default_grids_hold_their_frequency(frequency, num_points):
    (part,) = FieldNonlinearity(f"1xfourier{frequency}").parts
    assert part.synthesis.shape[1] == num_points


def test_a_grid_that_is_too_coarse():
    with pytest.raises(ValueError, match="48 points can't hold a fourier field of frequency 2"):
        FieldNonlinearity("1xfourier2", grid="octahedral_48", function="elu")


@pytest.mark.parametrize("name", GRIDS)
def test_grid_values_are_the_functions(name):
    grid = load_grid(name)
    assert torch.allclose(grid @ grid.mT, torch.eye(3).expand(len(grid), 3, 3), atol=1e-12)
    term = parse_field_type("1xfourier1").terms[0]
    synthesis = calc_synthesis(term, grid)
    # f(R) of frequency 1, written out: e3nn's vector components are x, y and z.
    scalar, vectors = torch.randn(1), torch.randn(3, 3)
    by_hand = scalar + 3**0.5 * torch.einsum("gmn,nm->g", grid, vectors)
    coefficients = torch.cat([scalar, vectors.flatten()])
    assert torch.allclose(coefficients @ synthesis * 10**0.5, by_hand)
    assert torch.allclose(synthesis @ calc_analysis(synthesis), torch.eye(10), atol=1e-12)


@pytest.mark.parametrize("kind", ["fourier", "quotient"])
@pytest.mark.parametrize("frequency", DEFAULT_GRIDS)
def test_a_field_survives_its_default_grid(kind, frequency):
    nonlinearity = FourierNonlinearity(parse_field_type(f"1x{kind}{frequency}").terms[0])
    assert nonlinearity.synthesis.shape[1] == len(load_grid(DEFAULT_GRIDS[frequency]))
    round_trip = nonlinearity.synthesis @ nonlinearity.analysis
    assert torch.allclose(round_trip, torch.eye(len(round_trip)), atol=1e-12)


def test_nonlinearity_by_hand():
    # On the grid, the fused function is nothing but analysis(elu(synthesis(scale·x + shift))).
    module = FourierNonlinearity(
        parse_field_type("3xfourier1").terms[0], grid="octahedral_72", function="elu"
    )
    image = torch.randn(2, 30, 2, 3, 4)
    scale, shift = torch.randn(30), torch.randn(30)
    affine = (image.movedim(1, -1) * scale + shift).unflatten(-1, (3, 10))
    expected = torch.nn.functional.elu(affine @ module.synthesis) @ module.analysis
    got = module(image, scale, shift)
    assert torch.allclose(got, expected.flatten(-2).movedim(-1, 1))


def test_nonlinearity_takes_the_scale_of_each_image(monkeypatch):
    monkeypatch.setattr("atompaint_vae.nn.nonlinearities.voxelwise.CHUNK_VALUES", 1000)
    module = FieldNonlinearity("1xfourier1+2x0e+2x1e", grid="octahedral_48")
    norm = InstanceNorm(module.irreps_in)
    set_parameters(norm)
    image = torch.randn(3, module.irreps_in.dim, 3, 3, 3)
    assert torch.allclose(module(image, *norm.calc_affine(image)), module(norm(image)))


@pytest.mark.parametrize(
    ("function", "irreps", "num_scales"),
    [
        *itertools.product(POINTWISE_FUNCTIONS, IRREPS_NONLINEARITIES, [()]),
        ("learned_hermite", "gate", (2,)),
    ],
)
def test_gradients(function, irreps, num_scales, monkeypatch):
    # Chunks of a few voxels, so that there are several.
    monkeypatch.setattr("atompaint_vae.nn.nonlinearities.voxelwise.CHUNK_VALUES", 60)
    module = FieldNonlinearity(
        "1xfourier1+1x0e+2x1e+1x0e", grid="octahedral_48", function=function, irreps=irreps
    )
    set_parameters(module)
    num_channels = module.irreps_in.dim
    image = torch.randn(*(num_scales or (1,)), num_channels, 2, 1, 1, requires_grad=True)
    scale = torch.randn(*num_scales, num_channels, requires_grad=True)
    shift = torch.randn(*num_scales, num_channels, requires_grad=True)
    parameters = dict(module.named_parameters())

    def apply(image, scale, shift, *values):
        return torch.func.functional_call(
            module, dict(zip(parameters, values, strict=True)), (image, scale, shift)
        )

    assert torch.autograd.gradcheck(apply, (image, scale, shift, *parameters.values()))


def test_unknown_names():
    with pytest.raises(ValueError, match="nonlinearity 'swish' is unknown; expected one of elu"):
        Gate(Irreps("1x0e"), function="swish")
    with pytest.raises(ValueError, match="grid 'cubic' is unknown; expected one of octahedral_48"):
        load_grid("cubic")
    with pytest.raises(ValueError, match=r"nonlinearity of irreps 'mlp' is unknown; .* gate, norm"):
        FieldNonlinearity("1x0e", irreps="mlp")
    with pytest.raises(ValueError, match="kernel_size: expected an odd number, got 2"):
        SteerableConv(MIXED, MIXED, kernel_size=2)


def test_halving_keeps_sides_odd():
    sizes = [35]
    while sizes[-1] > 3:
        sizes.append(calc_halved_size(sizes[-1]))
    assert sizes == [35, 17, 9, 5, 3]
    assert calc_halved_size(21) == 11
    for size in range(5, 101, 2):
        assert calc_halved_size(size) % 2 == 1
        assert (size + 2 * choose_padding(size) - 3) % 2 == 0
        # A transposed convolution comes back.
        assert (calc_halved_size(size) - 1) * 2 - 2 * choose_padding(size) + 3 == size
    with pytest.raises(ValueError, match="can't halve an image of 8 voxels a side"):
        choose_padding(8)


def test_free_rotation_error_is_small_for_a_smooth_kernel_of_scalars():
    axis = torch.linspace(-2, 2, 15)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    image = torch.exp(-((x - 0.3) ** 2) - (y + 0.2) ** 2 - z**2)[None, None]
    rotation = torch.linalg.matrix_exp(torch.tensor([[0, -0.5, 0], [0.5, 0, 0], [0, 0, 0]]))
    scalar = Irreps("1x0e")

    def blur(image):
        return torch.nn.functional.avg_pool3d(image, 3, stride=1, padding=1)

    error = calc_equivariance_error(
        blur, image, irreps_in=scalar, irreps_out=scalar, rotation=rotation
    )
    assert 1e-6 < error < 0.03


def test_sizes_that_lose_the_symmetry_are_warned_of():
    scalar = Irreps("1x0e")
    with pytest.warns(
        EquivarianceWarning, match="18 voxels a side .* nearest sizes that keep it: 17 and 19"
    ):
        SteerableConv(scalar, scalar, stride=2, padding=1, size_voxels=18)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for size in (17, 19, 35):
            SteerableConv(scalar, scalar, stride=2, padding=1, size_voxels=size)


def test_cached_kernel_is_dropped_when_the_weights_change():
    conv = SteerableConv(MIXED, MIXED, padding=1).eval()
    image = torch.randn(1, MIXED.dim, 3, 3, 3)
    with torch.no_grad():
        first = conv(image)
        assert conv._cached_kernel is not None
        assert torch.equal(conv(image), first)
        state = {name: value.clone() for name, value in conv.state_dict().items()}
        conv.load_state_dict({name: 2 * value for name, value in state.items()})
        assert torch.allclose(conv(image), 2 * first)
        # In place of the tensors that there were: their own changes are counted from zero.
        for factor in (3, 2):
            other = {name: factor * value.clone() for name, value in state.items()}
            conv.load_state_dict(other, assign=True)
            assert torch.allclose(conv(image), factor * first)
        conv.train()
        for weight in conv.weights.values():
            weight.mul_(2)
        conv.eval()
        assert torch.allclose(conv(image), 4 * first)
        # Trained without leaving eval mode.
        for weight in conv.weights.values():
            weight.mul_(2)
        assert torch.allclose(conv(image), 8 * first)
        conv.float()
        assert conv(image.float()).dtype == torch.float32
    # With gradients, the kernel must be made anew.
    conv.double()(image).sum().backward()
    assert all(weight.grad is not None for weight in conv.weights.values())


def test_what_was_made_in_float32_is_exact_in_float64():
    torch.set_default_dtype(torch.float32)
    nonlinearity = FieldNonlinearity("2xfourier2+2x0e+1x1e", irreps="tensor_product")
    conv = SteerableConv(Irreps("2x0e"), nonlinearity.irreps_in, padding=1)
    module = torch.nn.Sequential(conv, nonlinearity).double()
    irreps = {"irreps_in": conv.irreps_in, "irreps_out": nonlinearity.irreps_out}
    image = torch.randn(1, 2, 5, 5, 5, dtype=torch.float64)
    assert calc_exact_equivariance_error(module, image, **irreps) < EXACT
    assert module.float()(image.float()).dtype == torch.float32


@pytest.mark.parametrize("irreps", IRREPS_NONLINEARITIES)
def test_a_batch_of_nothing(irreps):
    module = FieldNonlinearity("1xfourier1+1x1e", irreps=irreps)
    assert module(torch.zeros(0, module.irreps_in.dim, 3, 3, 3)).shape[0] == 0


def test_variance_is_kept_through_ten_layers():
    torch.set_default_dtype(torch.float32)
    field_type = parse_field_type("8x0e+6x1e+4x2e")
    image = torch.randn(4, field_type.size, 9, 9, 9)
    for _ in range(10):
        nonlinearity = FieldNonlinearity(field_type, grid="octahedral_96", function="elu")
        conv = SteerableConv(field_type.irreps, nonlinearity.irreps_in, padding=1)
        norm = IrrepsNorm(conv.irreps_out)
        before = conv(image)
        assert 0.1 < before.var().item() < 2
        image = nonlinearity(before, *norm.calc_affine(before))
    assert 0.1 < image.var().item() < 2


def test_learned_hermite_begins_as_the_first():
    x = torch.linspace(-3, 3, 50)
    learned, first = PointwiseFunction("learned_hermite"), PointwiseFunction("hermite")
    assert torch.allclose(learned(x), first(x))
    # Independent: numpy's probabilists' Hermite polynomials.
    weights = torch.tensor([0.3, -0.2, 0.7, 0.4])
    learned.weights.data.copy_(weights)
    expected = np.polynomial.hermite_e.hermeval(x.numpy(), weights.numpy())
    expected *= np.exp((1 - x.numpy() ** 2) / 2)
    assert np.allclose(learned(x).detach().numpy(), expected)


def test_only_the_input_is_saved():
    module = FieldNonlinearity("2xfourier2", grid="octahedral_96", function="elu")
    image = torch.randn(1, 70, 4, 4, 4, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        module(image, torch.ones(70), torch.zeros(70))
    grid_values = 2 * 96 * 64
    assert sum(t.numel() for t in saved) < image.numel() + 2 * 35 * 96 + 200 < grid_values + 7000


@pytest.mark.parametrize(
    ("fields", "irreps"),
    [("1xfourier1", "gate"), *(("2x0e+1x1e", irreps) for irreps in IRREPS_NONLINEARITIES)],
)
@pytest.mark.parametrize("make_norm", [IrrepsNorm, InstanceNorm])
def test_bfloat16_autocast_is_near_float32(make_norm, fields, irreps):
    torch.set_default_dtype(torch.float32)
    nonlinearity = FieldNonlinearity(fields, grid="octahedral_48", irreps=irreps)
    conv = SteerableConv(Irreps("6x0e"), nonlinearity.irreps_in, padding=1)
    norm = make_norm(conv.irreps_out)
    image = torch.randn(2, 6, 5, 5, 5)

    def run():
        between = conv(image)
        return nonlinearity(between, *norm.calc_affine(between))

    exact = run()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = run()
    rounded.float().sum().backward()
    assert (rounded.float() - exact).norm() / exact.norm() < 0.02


@pytest.mark.parametrize("make_norm", [IrrepsNorm, InstanceNorm])
@pytest.mark.parametrize("irreps", IRREPS_NONLINEARITIES)
def test_meta_device(irreps, make_norm):
    # Nothing in a step may look at a value: on a GPU that would wait for it.
    torch.set_default_dtype(torch.float32)
    nonlinearity = FieldNonlinearity("1xfourier1+2x0e+1x1e", grid="octahedral_48", irreps=irreps)
    conv = SteerableConv(Irreps("6x0e"), nonlinearity.irreps_in, stride=2, padding=1).to("meta")
    norm = make_norm(conv.irreps_out).to("meta")
    between = conv(torch.empty(2, 6, 5, 5, 5, device="meta"))
    result = nonlinearity.to("meta")(between, *norm.calc_affine(between))
    assert result.shape == (2, 15, 3, 3, 3)
    result.sum().backward()
