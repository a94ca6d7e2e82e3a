"""Structures to crops: read them, split them, sample crops and voxelize these."""

import re

STARTER = "starter"
"""Name of the set that comes with this package."""

PDB_ID = re.compile(r"[1-9][a-z0-9]{3}|pdb_[a-z0-9]{8}", re.IGNORECASE)
"""An id of the Protein Data Bank: 1ema, or the same extended to pdb_00001ema.

source: wwPDB, which will issue extended ids only, once those of four characters are used up
"""
