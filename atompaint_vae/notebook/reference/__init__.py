"""Reference pages, made from docstrings and schemas."""

COMPONENTS = ("hparams", "api", "markup")
