import pandas as pd
import torch

from atompaint_vae.analysis.atoms import ALL, ANY, count_atoms
from atompaint_vae.data.crops.dataset import CropDataset, collate_crops, load_split
from atompaint_vae.figures.tables import make_score_table


def test_atoms_of_another_element_count_only_where_elements_do_not():
    dataset = CropDataset(load_split("starter", "test"), num_samples=1, seed=0, size_voxels=9)
    crop = dataset[0][1]
    image = dataset.make_images(collate_crops([dataset[0]]))[0]
    num_true = (abs(crop.coords_A) < 4.5).all(axis=1).sum()
    for given, recall in ((image, {ALL: 1, ANY: 1}), (image.roll(3, 0), {ALL: 0, ANY: 1})):
        counts = count_atoms(given, crop, dataset).droplevel("min_weight")
        assert counts.loc[[ALL, ANY], "true"].tolist() == [num_true] * 2
        for row, share in recall.items():
            assert counts.loc[row, "recalled"] == share * num_true


def test_atoms_beyond_the_border_of_the_image_do_not_count():
    atoms = load_split("starter", "test")
    dataset = CropDataset(atoms, num_samples=1, seed=0, size_voxels=11, resolution_A=0.8)
    crop = dataset[0][1]
    counts = count_atoms(torch.zeros(6, 11, 11, 11), crop, dataset).droplevel("min_weight")
    num_true = (abs(crop.coords_A) < 4.4).all(axis=1).sum()
    assert counts.loc[ALL, "true"] == num_true < len(crop.coords_A)


def test_the_table_shows_what_there_is():
    counts = pd.DataFrame(
        {"true": [4, 0], "found": [2, 3], "recalled": [1, 0], "confirmed": [1, 0],
         "square_A2": [0.25, 0]},
        index=pd.MultiIndex.from_tuples(
            [("input", 0.5, "C"), ("input", 0.5, "P")], names=["image", "min_weight", "element"]
        ),
    )  # fmt: skip
    assert make_score_table(counts).to_dict("records") == [
        {"image": "input", "least weight": "0.5", "element": "C", "precision": "0.500",
         "recall": "0.250", "RMSD [Å]": "0.50", "atoms": "4", "found": "2"}
    ]  # fmt: skip
