"""Labelled images and texts: a catalogue of the datasets that can be named, without torch, and the loaders."""
