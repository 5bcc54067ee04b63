"""Measurements: run by hand or by `make bench`, printed as tables; they never gate on time."""
