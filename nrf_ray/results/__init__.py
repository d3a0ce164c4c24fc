"""The tables of a sweep on disk, a stored sweep by its names, and the summary that is printed."""
