"""
Diffusion: a denoiser of images, or of the latents of a trained autoencoder.

    hparams   -> what hparams.nt says of it            kind       -> its declaration
    edm       -> the formulas of Karras et al. 2022    scaling    -> data of unit variance
    unet      -> the network F                         denoiser   -> D, in images or latents
    sampler   -> from noise to data, step by step      samples    -> images, and their atoms
    objective -> losses, metrics, artifacts            checks     -> of hyperparameters
    encodings -> of crops that are seen again and again
    painting  -> atoms of a region, drawn anew         repainting -> regions of many structures
"""
