"""Values that must not change by accident."""
