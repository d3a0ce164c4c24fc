"""The tables of results, one file a family: its columns, how its rows are measured, and what is shown of it."""
