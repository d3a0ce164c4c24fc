"""Labelled images: a catalogue of what can be named, without torch, and the loaders."""
