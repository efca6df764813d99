"""NNCF's accuracy control on an ONNX file: python nncf_control.py MODEL SAMPLES DROP OUT [--tuned].

SAMPLES is a folder of parts, as suffice writes it: calibrated with the same 300 at most that suffice's own quantisers
get, judged by all that it searches and judges with. `--tuned`: range estimation and bias correction that are more
accurate and slower, asymmetric activations, and a search of NNCF's own over the parameters of quantisation.
"""

import argparse
import logging
from pathlib import Path

import nncf
import numpy as np
import openvino as ov

from suffice.form.samples import in_batches, read_samples, to_calibrate

JUDGED, BATCH = ("search", "held-out"), 32
TUNED = {
    "preset": nncf.QuantizationPreset.MIXED,
    "fast_bias_correction": False,
    "advanced_accuracy_restorer_parameters": nncf.AdvancedAccuracyRestorerParameters(tune_hyperparams=True),
}


def accuracy(compiled, batches):
    """Of what it computes, as NNCF's documentation has it."""
    right = [compiled(each.inputs[0])[0].argmax(1) == each.labels for each in batches]
    return float(np.concatenate(right).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("drop", type=float)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tuned", action="store_true")
    args = parser.parse_args()
    logging.getLogger("nncf").setLevel(logging.INFO)
    model = ov.Core().read_model(str(args.model))
    judged = [one for part in JUDGED for one in in_batches(read_samples(args.samples, part), BATCH)]
    found = nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(to_calibrate(args.samples, [model.inputs[0].any_name])),
        nncf.Dataset(judged),
        accuracy,
        max_drop=args.drop,
        **(TUNED if args.tuned else {}),
    )
    ov.save_model(found, str(args.out), compress_to_fp16=False)


if __name__ == "__main__":
    main()
