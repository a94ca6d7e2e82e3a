"""Rotation-equivariant variational autoencoders of macromolecular images."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .training.weights import load_pretrained

__version__ = "0.1.0"
__all__ = ["load_pretrained"]


def __getattr__(name: str):
    # Pages and most commands need no torch, whose import takes seconds.
    if name in __all__:
        try:
            from .training import weights as pretrained
        except ModuleNotFoundError as error:
            from .text.errors import describe_missing

            raise ImportError(describe_missing(error) or str(error)) from error
        return getattr(pretrained, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
