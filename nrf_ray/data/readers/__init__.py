"""Readers of files: one module a format, each giving `files`, `outline` and `read` (see `outline.Format`).

They take files from anywhere, so they trust nothing in them: sizes are checked before anything is allocated, nothing is
unpickled by pickle's rules, and nothing is written.
"""
