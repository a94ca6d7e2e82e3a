"""Equivariant layers on voxels: field types, convolutions, normalisation, nonlinearities."""

from .conv import SteerableConv
from .equivariance import (
    calc_equivariance_error,
    calc_exact_equivariance_error,
    calc_layer_errors,
)
from .fields import FieldType, parse_field_type
from .grids import GRIDS, load_grid
from .nonlinearities.fourier import FourierNonlinearity
from .nonlinearities.gates import Gate, NormNonlinearity
from .nonlinearities.mixed import FieldNonlinearity
from .nonlinearities.tensor_products import TensorProductNonlinearity
from .norm import InstanceNorm, IrrepsNorm
from .resample import Pool, Upsample

__all__ = [
    "GRIDS",
    "FieldNonlinearity",
    "FieldType",
    "FourierNonlinearity",
    "Gate",
    "InstanceNorm",
    "IrrepsNorm",
    "NormNonlinearity",
    "Pool",
    "SteerableConv",
    "TensorProductNonlinearity",
    "Upsample",
    "calc_equivariance_error",
    "calc_exact_equivariance_error",
    "calc_layer_errors",
    "load_grid",
    "parse_field_type",
]
