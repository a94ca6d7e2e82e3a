"""Commands that run trained models of kind diffusion."""
