"""`nrf doctor`: is this machine, and the cluster, fit to run a sweep, and who else can reach them?

Every module looks at one side in two steps: a function that looks (and judges nothing), and a function from what was
seen to findings (and looks at nothing), so that every line is tested without breaking a machine for it.
"""
