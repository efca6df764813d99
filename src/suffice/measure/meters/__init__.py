"""Gauges beside the job: each reads one thing of a job's processes, or of the devices that they use.

A meter has a `key`, a reason why it is `unavailable` here (or None), and `read(tree)`, which returns plain JSON. It
never raises for what the machine lacks. `sampler` reads them all once a second; `recording` writes what was read to a
file and plays it back as a meter.
"""
