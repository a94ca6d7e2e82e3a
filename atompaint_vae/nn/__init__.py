"""Equivariant layers on voxels: field types, convolutions, normalisation, nonlinearities."""

from .activations import FieldNonlinearity, FourierNonlinearity
from .conv import SteerableConv
from .equivariance import (
    calc_equivariance_error,
    calc_exact_equivariance_error,
    calc_layer_errors,
)
from .fields import FieldType, parse_field_type
from .gates import Gate, NormNonlinearity
from .grids import GRIDS, load_grid
from .norm import InstanceNorm, IrrepsNorm
from .resample import Pool, Upsample
from .tensor_products import TensorProductNonlinearity

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
