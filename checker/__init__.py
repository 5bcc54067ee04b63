"""The checker: explores, proves, validates and replays the specification."""
