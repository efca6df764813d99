"""Orders on stdin -> a recorded course of a script each: torch is loaded once, and each course runs in a fork.

`recorded.py < orders.json`: a list of {"argv": script and arguments, "course": order of CourseRecorder, "report": file}.
"""

import gc
import json
import os
import runpy
import sys

import torch

from suffice.agent.hooks import Patches
from suffice.agent.rig.course import CourseRecorder, seed
from suffice.agent.rig.job import Job


def record(order: dict) -> None:
    """Run the script in this process, which ends with the course."""

    def report(told: dict) -> None:
        with open(order["report"], "w") as file:
            json.dump(told, file)

    course = order["course"]
    seed(torch, course["seed"], course["seed_offset"])
    CourseRecorder(torch, Job(torch, os.path.dirname(order["report"])), course, report).install(Patches())
    sys.argv = order["argv"]
    runpy.run_path(order["argv"][0], run_name="__main__")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])  # the first optimiser loads the compiler, which takes long
    gc.collect()
    gc.freeze()  # no fork has to look for modules among what torch made
    for order in json.load(sys.stdin):
        child = os.fork()
        if not child:
            record(order)
            sys.exit()
        os.waitpid(child, 0)
        if not os.path.exists(order["report"]):
            sys.exit("the course of {} was not reported".format(order["argv"]))
