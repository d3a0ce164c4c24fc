"""Readers of files: one module per format, each with `files`, `outline` and `read` (see `outline.Format`).

The files may come from anywhere, so readers validate their content: sizes are checked before memory is allocated,
nothing is unpickled by pickle's rules, and nothing is written.
"""
