"""Tests: the second reader of the specification."""
