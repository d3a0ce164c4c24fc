"""Export from a store for other people and their programs: constructed sets, whole sweeps, tables for papers."""

from nrf_ray.export.sets import FORMS as FORMS
from nrf_ray.export.sets import export_set as export_set
