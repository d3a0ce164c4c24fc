"""Tests of datasets made of files: names, readers, preparation, export."""
