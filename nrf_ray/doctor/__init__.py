"""`nrf doctor`: can this machine and the cluster run a sweep, and who else can reach them?

Every module has pairs of functions: `look_at_...` observes and assesses nothing; `judge_...` turns observations into
findings and observes nothing. So every finding can be tested without breaking a machine.
"""
