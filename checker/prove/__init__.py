"""Proofs: translates pure functions of the specification from their source to Z3."""
