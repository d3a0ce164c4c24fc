"""What leaves a store for other people and their programs: constructed sets, whole sweeps, tables for papers."""

from nrf_ray.export.sets import FORMS, export_set

__all__ = ["FORMS", "export_set"]
