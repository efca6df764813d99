"""What AWS Neuron's documentation says of the calls that suffice makes: they are written down; a module is traced."""

import warnings
from pathlib import Path

import torch

__version__ = "recorded"
CALLS = []


def trace(func, example_inputs, *, compiler_workdir=None, compiler_args=None):
    """As `torch.jit.trace`."""
    assert Path(compiler_workdir).parent.is_dir()
    CALLS.append(("trace", [tuple(each.shape) for each in example_inputs], compiler_args))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(func, example_inputs)


def dynamic_batch(neuron_script):
    """For batches of other sizes."""
    CALLS.append(("dynamic_batch",))
    return neuron_script
