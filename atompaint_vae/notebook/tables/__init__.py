"""Tables in files, as pages show them."""

COMPONENTS = ("datatable", "printed")
