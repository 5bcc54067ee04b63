"""Small machines with published state counts, on which the checker itself is checked."""
