"""What the command of a sweep does: plan it, forecast it, run it."""
