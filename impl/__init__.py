"""The runtime: executes the specification over SQLite and TCP."""
