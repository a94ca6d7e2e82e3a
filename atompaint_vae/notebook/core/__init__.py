"""What all pages share: mathematics, pictures, numbers, references, problems, watched files."""

COMPONENTS = (
    "accessibility", "assets", "math", "navigation", "references", "data_folders", "updates",
    "numbers", "pictures", "problems", "videos", "watch",
)  # fmt: skip
