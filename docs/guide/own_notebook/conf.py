project = "Binding of a repressor"
extensions = ["atompaint_vae.notebook"]
exclude_patterns = ["_build"]
html_theme = "furo"
