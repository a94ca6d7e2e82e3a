"""Build the same networks in several libraries; each library runs in its own process."""
