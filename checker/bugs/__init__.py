"""The museum: bugs that stores of this family really had, each put back into the specification on request.

An exhibit is a module: its docstring is the page, its `BUG` the smallest change to `spec/` that brings the bug back,
the model in which it shows, and the properties that notice. Nothing here is a copy of the specification: the change is
made to its text while it is imported (`checker.bugs.edits`), and everything else, from the explorer to the exit code,
is as without it. `checker.bugs.museum` lists the exhibits.
"""
