"""Write small.bcif beside this script: small.cif as biotite, not this project, encodes it.

Run it where biotite is installed; this project doesn't need it otherwise.
"""

from pathlib import Path

from biotite.structure.io.pdbx import BinaryCIFFile, CIFFile, compress
from biotite.structure.io.pdbx.bcif import BinaryCIFBlock, BinaryCIFCategory, BinaryCIFColumn

FOLDER = Path(__file__).parent


def main() -> None:
    binary = BinaryCIFFile()
    for name, block in CIFFile.read(FOLDER / "small.cif").items():
        categories = {}
        for key, category in block.items():
            columns = {}
            for tag, column in category.items():
                kind = {"Cartn_x": float, "Cartn_y": float, "Cartn_z": float, "occupancy": float,
                        "auth_seq_id": int}.get(tag, str)  # fmt: skip
                mask = None if column.mask is None else column.mask.array
                values = column.data.array if kind is str else column.as_array(kind)
                columns[tag] = BinaryCIFColumn(values, mask)
            categories[key] = BinaryCIFCategory(columns)
        binary[name] = BinaryCIFBlock(categories)
    compress(binary).write(FOLDER / "small.bcif")


main()
