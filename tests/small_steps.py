"""Training steps of small models of every kind, with most of what they can be made of."""

import torch

from atompaint_vae.config.datasets import make_dataset
from atompaint_vae.config.schema import Hparams
from atompaint_vae.data.crops.dataset import collate_crops
from atompaint_vae.models.vae.vae import VAE
from atompaint_vae.training.module import TrainingModule
from atompaint_vae.training.plan import build_model

FIELDS = "2x0e+1x1e"
WEIGHTS = {"channel_weights": {"N": 2.0}, "occupied_weight": 3.0, "free_nats": 0.1}
STEPS = {
    "VAE": {"model": {"layers": ["1xfourier1+2x0e+1x1e", FIELDS], "latent": FIELDS}},
    "VAE of other parts": {
        "model": {
            "layers": ["1xquotient1", FIELDS], "latent": FIELDS, "posterior_std": "softplus",
            "irreps_nonlinearity": "norm", "normalisation": "instance",
            "encoder": {"downsampling": "pooled"}, "decoder": {"upsampling": "trilinear"},
        },
        "loss": {"divergence": "atompaint", **WEIGHTS},
    },
    "VAE of products": {
        "data": {"density": "gaussian"},
        "model": {
            "layers": [FIELDS], "latent": FIELDS, "irreps_nonlinearity": "tensor_product",
            "nonlinearity": "learned_hermite", "blocks": "residual", "convs_per_layer": 2,
            "encoder": {"symmetry": "none"}, "decoder": {"upsampling": "nearest"},
        },
        "loss": {"reduction": "optimal"},
    },
    "neighbor location": {
        "kind": "neighbor_location",
        "data": {"size_voxels": 21},
        "model": {
            "layers": [FIELDS], "features": FIELDS, "head": "equivariant",
            "views": {"size_voxels": 7},
        },
    },
    "denoiser": {
        "kind": "diffusion", "model": {"layers": [FIELDS, "2x0e"], "self_conditioning": True},
    },
    "denoiser of latents": {
        "kind": "diffusion", "data": {"num_train_crops": 4}, "model": {"layers": [FIELDS]},
    },
}  # fmt: skip
BATCH_SIZE = 2


def make_hparams(values: dict) -> Hparams:
    return Hparams.model_validate(
        {
            **values,
            "data": {"size_voxels": 11} | values.get("data", {}),
            "optim": {"batch_size": BATCH_SIZE, "ema_decay": 0.9},
            "train": {"epochs": 1, "steps_per_epoch": 1},
        }
    )


def make_training(hparams: Hparams, folder, device: str = "cpu"):
    """Return the module that trains a model from its initial weights, and a batch, on the CPU."""
    torch.manual_seed(0)
    inputs = {}
    if hparams.data.num_train_crops:
        vae = VAE([FIELDS], FIELDS, num_channels=6, size_voxels=hparams.data.size_voxels)
        inputs["autoencoder"] = vae.eval().requires_grad_(False)
    dataset = make_dataset(hparams, folder, "train")
    model = build_model(hparams, image_std=0.1, inputs=inputs)
    module = TrainingModule(model, hparams, dataset)
    module.objective.prepare(folder / ".cache", torch.device(device))
    return module, collate_crops([dataset[i] for i in range(BATCH_SIZE)])


def take_step(module: TrainingModule, batch, optimizer):
    """All that a step consists of but for copying the batch, in which nothing is waited for."""
    optimizer.zero_grad()
    losses = module.training_step(batch, 0)
    losses["loss"].backward()
    torch.nn.utils.clip_grad_norm_(module.model.parameters(), 1.0)
    optimizer.step()
    module.average.update_parameters(module.model)
    return losses
