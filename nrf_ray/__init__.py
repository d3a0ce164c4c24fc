"""nrf_ray: build, train and measure the constructed datasets of "Adversarial Examples Are Not Bugs, They Are Features".

Importing the package imports neither torch nor ray; see README for the tour and `sweeps/` for what to run.
"""
