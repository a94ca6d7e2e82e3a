"""Each hyperparameter reaches what it decides: another value makes another run.

A new key needs an entry in CASES: another value, what the run makes of it, and what it should.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from atompaint_vae.config.datasets import make_dataset
from atompaint_vae.config.schema import Hparams, list_keys
from atompaint_vae.data.crops.dataset import CropBatch, collate_crops
from atompaint_vae.data.crops.voxelize import CHANNELS
from atompaint_vae.data.sets.sources import SPLITS, name_structures_path
from atompaint_vae.data.structures.table import write_atoms
from atompaint_vae.models.kind import KINDS
from atompaint_vae.models.neighbor_location.views import NORMALS, propose_views
from atompaint_vae.models.noise import Noise
from atompaint_vae.nn.conv import SteerableConv
from atompaint_vae.nn.modulation import Modulation
from atompaint_vae.nn.nonlinearities.fourier import FourierNonlinearity
from atompaint_vae.nn.nonlinearities.gates import Gate, NormNonlinearity
from atompaint_vae.nn.nonlinearities.pointwise import PointwiseFunction
from atompaint_vae.nn.norm import InstanceNorm, IrrepsNorm
from atompaint_vae.nn.resample import Pool, Upsample
from atompaint_vae.nn.unconstrained import UnconstrainedConv
from atompaint_vae.records.record import RunPaths
from atompaint_vae.training.feed import CropFeed
from atompaint_vae.training.processes import Processes
from atompaint_vae.training.signals import SignalWatch
from atompaint_vae.training.train import Assignment, Training
from atompaint_vae.training.weights import InputModels

BASE = {
    "data.source": "set.parquet", "data.size_voxels": 9, "data.min_density_atoms_nm3": 10,
    "model.layers": ["1xfourier1+1x0e+1x1e"], "model.latent": "2x0e+1x1e",
    "optim.batch_size": 2, "optim.warmup_steps": 1,
    "train.epochs": 2, "train.steps_per_epoch": 2, "train.num_val_crops": 3,
    "train.num_test_crops": 4,
}  # fmt: skip
# Keys of other kinds that differ from it; None leaves one out.
OWN_BASES = {
    "neighbor_location": {
        "kind": "neighbor_location", "data.size_voxels": 19, "model.latent": None,
        "model.features": "2x0e+1x1e", "model.views.size_voxels": 7,
        "model.views.min_gap_A": 1, "model.views.max_gap_A": 2,
    },
    "diffusion": {
        "kind": "diffusion", "model.latent": None, "model.convs_per_layer": 1,
        "model.sampler.num_steps": 3,
    },
}  # fmt: skip
NUM_STRUCTURES = {"train": 3, "validation": 2, "test": 2}
NUM_VOXELS, NUM_LATENTS = 6 * 9**3, 5 * 5**3


def write_set(path: Path, prefix: str):
    """Balls of atoms as dense as protein, one half of each in nucleotides."""
    rng, tables, rows = np.random.default_rng(0), [], ["pdb_id,split"]
    for split, number in NUM_STRUCTURES.items():
        for k in range(number):
            name = f"{prefix}{split}{k}"
            coords_A = rng.uniform(-14, 14, (1500, 3))
            coords_A = coords_A[np.linalg.norm(coords_A, axis=1) < 14]
            num_atoms = len(coords_A)
            tables.append(pd.DataFrame(coords_A, columns=["x", "y", "z"]).assign(
                structure=name, chain="A", residue_num=1, insertion_code="",
                residue=np.where(coords_A[:, 0] < 0, "ALA", "DA"),
                kind=np.where(coords_A[:, 0] < 0, "protein", "nucleic"), code="A",
                element=rng.choice(["C", "N", "O"], num_atoms),
                occupancy=rng.choice([0.5, 1.0], num_atoms),
            ))  # fmt: skip
            rows.append(f"{name},{split}")
    write_atoms(pd.concat(tables, ignore_index=True), path, compression_level=1)
    name_structures_path(path).write_text("\n".join([*rows, ""]))


@dataclass
class Run:
    """What a run is made of, before its first step."""

    hparams: Hparams
    expt_dir: Path

    @cached_property
    def feed(self):
        return CropFeed(self.hparams, self.expt_dir, num_workers=0)

    @cached_property
    def training(self):
        assignment = Assignment(RunPaths(self.expt_dir / "runs/a"), self.hparams, 0.5, False, {})
        training = Training(
            assignment, self.feed, InputModels(), Processes("cpu"), SignalWatch()
        )
        self.feed.trainer = training.trainer
        return training

    @property
    def trainer(self):
        return self.training.trainer

    @property
    def module(self):
        return self.training.module

    @property
    def model(self):
        return self.module.model

    @cached_property
    def optimizer(self):
        return self.module.configure_optimizers()["optimizer"]

    @cached_property
    def batch(self):
        """The first training crops."""
        return collate_crops([self.feed.datasets["train"][i] for i in range(2)])

    @property
    def noise(self):
        return Noise(0, self.batch.sample_index)

    def calc_losses(self, step: int = 0):
        """Of the first training crops, in train mode, with the initial weights."""
        objective = self.module.objective
        found = objective.calc_losses(objective.make_inputs(self.batch, 0), self.noise, step)
        return {name: loss.item() for name, loss in found.items()}

    @cached_property
    def losses(self):
        return self.calc_losses()

    def encode(self):
        return self.model.encode(self.module.objective.make_inputs(self.batch, 0))

    def calc_errors(self, *, of_occupied: bool = False):
        """The squared errors in each channel, on the average over the first training crops."""
        images = self.module.objective.make_inputs(self.batch, 0)
        posterior = self.model.encode(images)
        latent = posterior.sample(self.noise.draw_normal(posterior.mean, "posterior"))
        errors = ((self.model.decode(latent) - images) / self.model.image_std) ** 2
        if of_occupied:
            errors = errors * images.amax(dim=1, keepdim=True).sign()
        return errors.sum((2, 3, 4)).mean(0).tolist()

    def list_in_encoder(self, kind: type, attribute: str = ""):
        """The modules of a type, or the values of their attribute."""
        found = [x for x in self.model.encoder.modules() if isinstance(x, kind)]
        return {getattr(x, attribute) for x in found} if attribute else found

    def list_modules(self, kind: type) -> list:
        """Of the encoder, then of the decoder: each has some."""
        parts = self.model.encoder, self.model.decoder
        return [[x for x in part.modules() if isinstance(x, kind)] for part in parts]

    def watch_denoiser(self, run):
        """The noise levels and the standard deviation of each input of the denoiser."""
        seen, forward = [], self.model.forward

        def watch(x, sigma, *others):
            seen.append((sigma.flatten().tolist(), x.std().item()))
            return forward(x, sigma, *others)

        self.model.forward = watch
        with torch.no_grad():
            run()
        self.model.forward = forward
        return seen

    def list_sigmas(self):
        """Noise levels at which a sample is denoised."""
        device = torch.device("cpu")

        def make():
            return self.module.objective.make_artifacts(self.feed.datasets["test"], device)

        return [sigmas[0] for sigmas, _ in self.watch_denoiser(make)]

    def list_in_network(self, kind: type, attribute: str = ""):
        found = [x for x in self.model.network.modules() if isinstance(x, kind)]
        return {getattr(x, attribute) for x in found} if attribute else found

    def see(self, coords_A: torch.Tensor):
        """Both views of some crops that hold the same atoms."""
        num_crops, num_atoms = 8, len(coords_A)
        crop = torch.arange(num_crops)
        batch = CropBatch(
            coords_A.float().repeat(num_crops, 1), torch.zeros(num_crops * num_atoms).long(),
            crop.repeat_interleave(num_atoms), crop,
        )  # fmt: skip
        return self.module.objective.make_inputs(batch, 0)

    def see_axes(self, distance_A: float):
        """The middles of the views, if the atoms lie on the axes, that far from each other."""
        images = self.see(NORMALS * distance_A / 2).images
        return images[:, :, 0, 3, 3, 3].min().item()

    def read_datasets(self, read):
        """What is the same in all splits."""
        first, *others = [read(self.feed.datasets[split]) for split in SPLITS]
        assert others == [first, first]
        return first

    @property
    def filters(self):
        return self.read_datasets(lambda dataset: dataset.crop_sampler.filters)

    @cached_property
    def atom(self):
        """The image of one atom in the middle, in all splits."""
        place = torch.zeros(1, dtype=torch.int64)
        batch = CropBatch(torch.zeros(1, 3), place, place, place)
        first, *others = [x.make_images(batch)[0, 0] for x in self.feed.datasets.values()]
        assert all(torch.equal(x, first) for x in others)
        return first

    @property
    def reach_A(self):
        """Side of the cube, and how far the atoms beyond it reach."""
        return self.read_datasets(lambda x: (x.crop_sampler.length_A, x.crop_sampler.radius_A))

    def list_structures(self) -> list[list[str]]:
        return [self.feed.datasets[split].crop_sampler.structures for split in SPLITS]

    def list_crops(self, split: str) -> list:
        return [crop.coords_A.tolist() for _, crop in self.feed.datasets[split]]


def calc_ball(radius):
    return 4 / 3 * math.pi * radius**3


def average_twice(run):
    """An averaged weight that was 1 and then, twice, 0: the first time it is copied."""
    average, model = run.module.average, run.model
    if average is None:
        return None
    for value in (1.0, 0.0, 0.0):
        next(model.parameters()).data.fill_(value)
        average.update_parameters(model)
    return next(average.module.parameters()).flatten()[0].item()


def read_elements(run):
    return {int(c) for x in run.feed.datasets.values() for _, crop in x for c in crop.channels}


def read_lengths(run):
    return [len(run.feed.datasets[split]) for split in SPLITS]


def read_fields(run):
    parts = run.model.encoder, run.model.decoder
    return [[str(block.field_type) for block in part.blocks] for part in parts]


def read_blocks(part):
    return [type(block).__name__ for block in part.blocks]


def read_set(modules, read):
    """What is the same for all modules of the encoder and the decoder, each of which has some."""
    encoder, decoder = [{read(x) for x in part} for part in modules]
    assert encoder == decoder and len(encoder) == 1, (encoder, decoder)
    return encoder.pop()


def read_types(run, *types):
    return [tuple(bool(part) for part in run.list_modules(x)) for x in types]


def read_batches(run):
    loader = run.training.feed.train_dataloader()
    return [len(loader.dataset), len(loader), len(next(iter(loader)).sample_index)]


def make_cases_of_part(part, other):
    """Another value for the encoder or the decoder alone, which leaves the other as it was."""
    def collect(kind, read):
        return lambda part: {read(x) for x in part.modules() if isinstance(x, kind)}

    def make(value, read, expected):
        return (
            {f"model.{part}.{key}": x for key, x in value.items()},
            lambda run: [read(getattr(run.model, x)) for x in (part, other)],
            lambda base: [expected, read(getattr(base.model, other))],
        )

    values = {
        "layers": (["3x0e+1x1e"], lambda x: [str(block.field_type) for block in x.blocks],
            ["3x0e+1x1e"]),
        "convs_per_layer": (2, lambda x: len(x.blocks), 2),
        "kernel_size": (5, collect(SteerableConv, lambda x: x.kernel_size), {5}),
        "symmetry": ("none", collect((SteerableConv, UnconstrainedConv), type),
            {UnconstrainedConv}),
        "normalisation": ("instance", collect((IrrepsNorm, InstanceNorm), type), {InstanceNorm}),
        "grid": ("octahedral_72", collect(FourierNonlinearity, lambda x: x.synthesis.shape[1]),
            {72}),
        "nonlinearity": ("hermite", collect(PointwiseFunction, lambda x: x.name), {"hermite"}),
        "irreps_nonlinearity": ("norm", collect((Gate, NormNonlinearity), type),
            {NormNonlinearity}),
    }  # fmt: skip
    cases = {key: make({key: x}, read, y) for key, (x, read, y) in values.items()}
    cases["blocks"] = make(
        {"blocks": "residual", "convs_per_layer": 2}, read_blocks, ["ConvBlock", "ResidualBlock"])
    return {f"model.{part}.{key}": case for key, case in cases.items()}


def see_lattice(run):
    """Whether both views of atoms on a lattice are the same."""
    axis = torch.arange(-12.0, 13.0)
    first, second = run.see(torch.cartesian_prod(axis, axis, axis)).images.unbind(1)
    return torch.allclose(first, second, atol=1e-5)


def see_line(run):
    """Classes of the views, if all atoms lie on the first axis."""
    axis = torch.arange(-9.0, 10.0)[:, None]
    return run.see(axis * torch.eye(3)[:1]).face.tolist()


BOTH, NEITHER = (True, True), (False, False)
# Another value, or several; what the run makes of it, and what it should, or how that follows from
# BASE.
COMMON = {
    "data.source": ("other.parquet", lambda run: [x for y in run.list_structures() for x in y],
        [f"b{split}{k}" for split in SPLITS for k in range(NUM_STRUCTURES[split])]),
    "data.size_voxels": (11,
        lambda run: [len(run.atom), run.reach_A[0], run.model.image_shape[-1]], [11, 11, 11]),
    "data.num_train_structures": (1,
        lambda run: [len(structures) for structures in run.list_structures()],
        [1, NUM_STRUCTURES["validation"], NUM_STRUCTURES["test"]]),
    "data.num_train_crops": (1,
        lambda run: [len({str(crop) for crop in run.list_crops(split)}) for split in SPLITS],
        [1, 3, 4]),
    "data.resolution_A": (1.25,
        lambda run: [run.atom.sum().item(), run.reach_A[0]], [calc_ball(0.75 / 1.25), 9 * 1.25]),
    "data.radius_A": (0.6,
        lambda run: [run.atom.sum().item(), run.reach_A[1]], [calc_ball(0.6), 0.6]),
    "data.min_density_atoms_nm3": (77,
        lambda run: run.read_datasets(lambda x: x.crop_sampler.source.min_density_atoms_nm3), 77),
    # σ² is r²/5 along each axis, which is cut off at 4 σ; the middle voxel reaches to 0.5 Å.
    "data.density": ("gaussian", lambda run: [run.atom.max().item(), run.reach_A[1]],
        [calc_ball(0.75) * math.erf(0.5 / 0.75 * (5 / 2) ** 0.5) ** 3, 4 * 0.75 / 5**0.5]),
    "data.elements": ("N O", read_elements, {1, 2}),
    "data.min_occupancy": (0.75, lambda run: run.filters.min_occupancy, 0.75),
    "data.min_nucleic_share": (0.25, lambda run: run.filters.min_nucleic_share, 0.25),
    "data.max_nucleic_share": (0.75, lambda run: run.filters.max_nucleic_share, 0.75),
    "data.min_border_distance_A": (3, lambda run: run.filters.min_border_distance_A, 3),
    "optim.learning_rate": (0.125, lambda run: run.optimizer.param_groups[0]["initial_lr"], 0.125),
    "optim.warmup_steps": (4, lambda run: run.optimizer.param_groups[0]["lr"], 2e-2 / 5),
    "optim.gradient_clip": (0.5, lambda run: run.trainer.gradient_clip_val, 0.5),
    "optim.batch_size": (3, read_batches, [6, 2, 3]),
    "optim.ema_decay": (0.75, average_twice, 0.75**2),
    "train.epochs": (7, lambda run: run.trainer.max_epochs, 7),
    "train.steps_per_epoch": (5, read_lengths, [10, 3, 4]),
    "train.num_val_crops": (5, read_lengths, [4, 5, 4]),
    "train.num_test_crops": (6, read_lengths, [4, 3, 6]),
    "train.precision": ("bf16-mixed", lambda run: run.trainer.precision, "bf16-mixed"),
}  # fmt: skip

# Those of each kind's own sections; other kinds need a BASE of their own.
CASES = {None: COMMON, "vae": {
    "model.layers": (["5x0e", "3x0e+1x1e"], read_fields,
        [["5x0e", "3x0e+1x1e"], ["3x0e+1x1e", "5x0e"]]),
    "model.latent": ("3x0e+2x1e", lambda run: run.model.latent_shape, (9, 5, 5, 5)),
    "model.convs_per_layer": (2,
        lambda run: [len(run.model.encoder.blocks), len(run.model.decoder.blocks)], [2, 2]),
    "model.kernel_size": (5,
        lambda run: read_set(run.list_modules(SteerableConv), lambda x: x.kernel_size), 5),
    "model.symmetry": ("none",
        lambda run: read_types(run, SteerableConv, UnconstrainedConv), [NEITHER, BOTH]),
    "model.blocks": ({"model.blocks": "residual", "model.convs_per_layer": 2},
        lambda run: [read_blocks(part) for part in (run.model.encoder, run.model.decoder)],
        [["ConvBlock", "ResidualBlock"]] * 2),
    "model.normalisation": ("instance",
        lambda run: read_types(run, IrrepsNorm, InstanceNorm), [NEITHER, BOTH]),
    "model.grid": ("octahedral_72", lambda run: read_set(
        run.list_modules(FourierNonlinearity), lambda x: x.synthesis.shape[1]), 72),
    "model.nonlinearity": ("hermite",
        lambda run: read_set(run.list_modules(PointwiseFunction), lambda x: x.name), "hermite"),
    "model.irreps_nonlinearity": ("norm",
        lambda run: read_types(run, Gate, NormNonlinearity), [NEITHER, BOTH]),
    "model.posterior_std": ("softplus", lambda run: run.model.posterior.std, "softplus"),
    "loss.reduction": ("mean", lambda run: run.losses["data_loss"],
        lambda base: base.losses["data_loss"] / NUM_VOXELS),
    "loss.beta": (0.25, lambda run: run.losses["loss"],
        lambda base: base.losses["data_loss"] + 0.25 * base.losses["prior_loss"]),
    "loss.beta_schedule": ("warmup", lambda run: run.losses["loss"],
        lambda base: base.losses["data_loss"]),
    "loss.beta_steps": ({"loss.beta_schedule": "warmup", "loss.beta_steps": 4},
        lambda run: run.calc_losses(step=1)["loss"],
        lambda base: base.losses["data_loss"] + base.losses["prior_loss"] / 4),
    "loss.divergence": ("atompaint", lambda run: run.losses["prior_loss"],
        lambda base: base.encode().calc_mistaken_kl().sum().item() / 2),
    "loss.occupied_weight": (3, lambda run: run.losses["data_loss"],
        lambda base: base.losses["data_loss"] + 2 * sum(base.calc_errors(of_occupied=True))),
    **{f"loss.channel_weights.{name}": (3, lambda run: run.losses["data_loss"],
        lambda base, i=i: base.losses["data_loss"] + 2 * base.calc_errors()[i])
       for i, name in enumerate(CHANNELS)},
    "model.encoder.downsampling": ("pooled",
        lambda run: [len(x) for x in run.list_modules(Pool)], [1, 0]),
    "model.decoder.upsampling": ("nearest",
        lambda run: [[y.mode for y in x] for x in run.list_modules(Upsample)], [[], ["nearest"]]),
    **make_cases_of_part("encoder", "decoder"), **make_cases_of_part("decoder", "encoder"),
    # Far more than any latent number has.
    "loss.free_nats": (1000, lambda run: run.losses["loss"],
        lambda base: base.losses["data_loss"] + 1000 * NUM_LATENTS),
}, "neighbor_location": {
    "model.layers": (["5x0e", "3x0e+1x1e"],
        lambda run: [str(block.field_type) for block in run.model.encoder.blocks],
        ["5x0e", "3x0e+1x1e"]),
    "model.convs_per_layer": (2, lambda run: len(run.model.encoder.blocks), 2),
    "model.blocks": ({"model.blocks": "residual", "model.convs_per_layer": 2},
        lambda run: read_blocks(run.model.encoder), ["ConvBlock", "ResidualBlock"]),
    "model.kernel_size": (5, lambda run: run.list_in_encoder(SteerableConv, "kernel_size"), {5}),
    "model.symmetry": ("none",
        lambda run: [bool(run.list_in_encoder(x)) for x in (SteerableConv, UnconstrainedConv)],
        [False, True]),
    "model.normalisation": ("instance",
        lambda run: [bool(run.list_in_encoder(x)) for x in (IrrepsNorm, InstanceNorm)],
        [False, True]),
    "model.grid": ("octahedral_72", lambda run: {
        x.shape[1] for x in run.list_in_encoder(FourierNonlinearity, "synthesis")}, {72}),
    "model.nonlinearity": ("hermite",
        lambda run: run.list_in_encoder(PointwiseFunction, "name"), {"hermite"}),
    "model.irreps_nonlinearity": ("norm",
        lambda run: [bool(run.list_in_encoder(x)) for x in (Gate, NormNonlinearity)],
        [False, True]),
    "model.downsampling": ("pooled", lambda run: len(run.list_in_encoder(Pool)), 1),
    "model.alignment": ("none", lambda run: run.model.features_shape, (5, 4, 4, 4)),
    "model.features": ("3x0e+1x1e", lambda run: run.model.features_shape, (6, 3, 3, 3)),
    "model.head": ("equivariant", lambda run: type(run.model.head).__name__, "EquivariantHead"),
    "model.mlp_width": (17, lambda run: run.model.head.layers[0].out_features, 17),
    "model.views.size_voxels": (9,
        lambda run: [run.model.image_shape, tuple(run.see(torch.zeros(1, 3)).images.shape)],
        [(6, 9, 9, 9), (8, 2, 6, 9, 9, 9)]),
    # One distance only is left, at which each view has an atom in its middle.
    "model.views.min_gap_A": (2, lambda run: run.see_axes(9),
        lambda base: base.atom.max().item()),
    "model.views.max_gap_A": (1, lambda run: run.see_axes(8),
        lambda base: base.atom.max().item()),
    "model.views.max_turn_deg": ({"model.views.max_turn_deg": 0, "model.views.max_gap_A": 1},
        see_lattice, True),
    "model.views.min_density_atoms_nm3": (0, see_line,
        lambda base: propose_views(Noise(0, torch.arange(8)), base.hparams.model.views,
                                   resolution_A=1.0).face[:, 0].tolist()),
}, "diffusion": {
    "model.layers": (["3x0e", "4x0e"],
        lambda run: [[str(x.field_type) for x in level] for level in run.model.network.down],
        [["3x0e"], ["4x0e"]]),
    "model.convs_per_layer": (3, lambda run: [len(x) for x in run.model.network.down], [3]),
    "model.blocks": ({"model.blocks": "plain", "model.convs_per_layer": 2},
        lambda run: [type(x).__name__ for x in run.model.network.down[0]], ["ConvBlock"] * 2),
    "model.kernel_size": (5, lambda run: run.list_in_network(SteerableConv, "kernel_size"), {5}),
    "model.symmetry": ("none",
        lambda run: [bool(run.list_in_network(x)) for x in (SteerableConv, UnconstrainedConv)],
        [False, True]),
    "model.normalisation": ("batch",
        lambda run: [bool(run.list_in_network(x)) for x in (IrrepsNorm, InstanceNorm)],
        [True, False]),
    "model.grid": ("octahedral_72", lambda run: {
        x.shape[1] for x in run.list_in_network(FourierNonlinearity, "synthesis")}, {72}),
    "model.nonlinearity": ("hermite",
        lambda run: run.list_in_network(PointwiseFunction, "name"), {"hermite"}),
    "model.irreps_nonlinearity": ("norm",
        lambda run: [bool(run.list_in_network(x)) for x in (Gate, NormNonlinearity)],
        [False, True]),
    "model.noise_embedding": ("linear",
        lambda run: run.model.network.embedding.perceptron[0].in_features, 1),
    "model.num_conditions": (17, lambda run: {
        x.linear.in_features for x in run.list_in_network(Modulation)}, {17}),
    "model.self_conditioning": ("true", lambda run: run.model.network.irreps_in.dim, 12),
    "model.sampler.num_steps": (5, lambda run: len(run.list_sigmas()), 2 * 5 - 1),
    "model.sampler.sigma_min": (0.5, lambda run: min(run.list_sigmas()), 0.5),
    "model.sampler.sigma_max": (20, lambda run: max(run.list_sigmas()), 20.0),
    "model.sampler.rho": (1, lambda run: run.list_sigmas()[1], (80 + 0.02) / 2),
    # Far more than a step can take, which is a factor of √2 in σ.
    "model.sampler.S_churn": (1000, lambda run: run.list_sigmas()[0], 80 * 2**0.5),
    "model.sampler.S_min": ({"model.sampler.S_churn": 1000, "model.sampler.S_min": 50},
        lambda run: [x / run.list_sigmas()[1] for x in run.list_sigmas()[:3]],
        lambda base: [80 * 2**0.5 / base.list_sigmas()[1], 1.0, 1.0]),
    "model.sampler.S_max": ({"model.sampler.S_churn": 1000, "model.sampler.S_max": 50},
        lambda run: [x / run.list_sigmas()[1] for x in run.list_sigmas()[:3]],
        lambda base: [80 / base.list_sigmas()[1], 1.0, 2**0.5]),
    "model.sampler.S_noise": ({"model.sampler.S_churn": 1000, "model.sampler.S_noise": 10},
        lambda run: round(run.watch_denoiser(lambda: run.module.objective.make_artifacts(
            run.feed.datasets["test"], torch.device("cpu")))[0][1] / 80),
        10),
    "loss.P_mean": (0.7, lambda run: run.watch_denoiser(run.calc_losses)[0][0],
        lambda base: [x * math.exp(1.5) for x in base.watch_denoiser(base.calc_losses)[0][0]]),
    "loss.P_std": (0, lambda run: run.watch_denoiser(run.calc_losses)[0][0],
        [math.exp(-0.8)] * 2),
}}  # fmt: skip
# Those of models that are named are in tests/models/vae/test_initial.py and
# tests/models/diffusion/test_objective.py.
WITH_TESTS_OF_THEIR_OWN = (
    "kind", "seed", "model.encoder_weights", "model.encoder_rate", "model.autoencoder"
)  # fmt: skip


@pytest.fixture(scope="module")
def make_run(tmp_path_factory):
    expt_dir = tmp_path_factory.mktemp("notebook") / "expts/20240101_x"
    expt_dir.mkdir(parents=True)
    for name, prefix in (("set", "a"), ("other", "b")):
        write_set(expt_dir / f"{name}.parquet", prefix)

    def make(values: dict | None = None, kind: str | None = None) -> Run:
        sections = {}
        for key, value in (BASE | OWN_BASES.get(kind, {}) | (values or {})).items():
            if value is None:
                continue
            *parents, name = key.split(".")
            section = sections
            for parent in parents:
                section = section.setdefault(parent, {})
            section[name] = value
        return Run(Hparams.model_validate(sections), expt_dir)

    return make


@pytest.fixture(scope="module")
def base(make_run):
    return make_run()


@pytest.fixture(scope="module")
def bases(base, make_run):
    return dict.fromkeys(CASES, base) | {kind: make_run(kind=kind) for kind in OWN_BASES}


@pytest.mark.parametrize("key", [pytest.param(x, id=x.name) for x in list_keys()])
def test_another_value_makes_another_run(key, bases, make_run):
    if key.name in WITH_TESTS_OF_THEIR_OWN:
        return
    base = bases[key.kind]
    cases = CASES.get(key.kind, {})
    assert key.name in cases, f"say in CASES[{key.kind!r}] what {key.name} changes"
    value, read, expected = cases[key.name]
    run = make_run(value if isinstance(value, dict) else {key.name: value}, key.kind)
    if callable(expected):
        expected = expected(base)
    if isinstance(expected, float) or (isinstance(expected, list) and type(expected[0]) is float):
        expected = pytest.approx(expected, rel=2e-4)
    assert read(base) != expected
    assert read(run) == expected


def test_cases_are_of_keys_that_there_are():
    keys = {(key.kind, key.name) for key in list_keys()}
    assert {(kind, name) for kind, cases in CASES.items() for name in cases} <= keys


def test_another_kind_is_another_model(make_run, monkeypatch):
    monkeypatch.setitem(KINDS, "toy", "toy_kind")
    run = make_run({"kind": "toy"} | dict.fromkeys(("model.layers", "model.latent")))
    assert type(run.model).__name__ == "Line"


def test_the_seed_is_that_of_weights_and_training_crops_alone(base, make_run):
    run = make_run({"seed": 1})
    weights = [torch.cat([p.flatten() for p in x.model.parameters()]) for x in (base, run)]
    assert not torch.equal(*weights)
    assert run.list_crops("train") != base.list_crops("train")
    for split in ("validation", "test"):
        assert run.list_crops(split) == base.list_crops(split)
    assert make_run({"seed": 1}).list_crops("train") == run.list_crops("train")


def test_the_seed_chooses_no_structures(make_run):
    runs = [make_run({"seed": seed, "data.num_train_structures": 1}) for seed in range(3)]
    assert len({tuple(x.list_structures()[0]) for x in runs}) == 1


def test_a_set_that_is_written_anew_is_read_anew(base, tmp_path):
    hparams = base.hparams
    for prefix in "ab":
        write_set(tmp_path / "set.parquet", prefix)
        (first, *_) = make_dataset(hparams, tmp_path, "test").crop_sampler.structures
        assert first == f"{prefix}test0"
