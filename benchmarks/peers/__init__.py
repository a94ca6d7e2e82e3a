"""The same networks in several libraries, each run by a process of its own."""
