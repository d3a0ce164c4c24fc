"""Command of a sweep: plan it, forecast it, run it."""
