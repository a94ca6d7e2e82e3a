"""Commands that generate images, and score them."""
