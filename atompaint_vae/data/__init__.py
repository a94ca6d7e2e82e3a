STARTER = "starter"
"""What the set that comes with this package is called."""
