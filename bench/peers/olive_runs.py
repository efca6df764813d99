"""What is handed to Olive: its environment, and configurations of `olive run`, as its documentation has them.

    default   the passes of Olive's own example for a CNN on a processor (examples/resnet/resnet_ptq_cpu.json), whose
              open parameters it searches exhaustively
    tuned     what people who know ONNX Runtime's quantisers would have it search: weights with a scale for each
              channel and 7 bits where sums overflow, activations of unsigned 8 bits, three calibrators, or dynamic

Both are judged as suffice is: the least latency whose accuracy, on the same samples, lost half a point at most.
"""

import json
import os
import shutil
import subprocess
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS, SCRIPT = HERE / "olive.txt", HERE / "olive_data.py"
JUDGED, BATCH = ["search", "held-out"], 32
SHOWN = (
    "quant_mode",
    "quant_format",
    "calibrate_method",
    "precision",
    "activation_type",
    "per_channel",
    "reduce_range",
)
QUIET = {"OLIVE_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}


def interpreter():
    """Of an environment with Olive: SUFFICE_OLIVE_PYTHON, else one that is made once, among the temporary files."""
    given = os.environ.get("SUFFICE_OLIVE_PYTHON")
    if given:
        return given
    folder = Path(tempfile.gettempdir(), "suffice-bench-olive")
    python, done = str(folder / "bin" / "python"), folder / "done.txt"
    if not done.exists() or done.read_bytes() != REQUIREMENTS.read_bytes():
        venv.create(folder, with_pip=True, clear=True)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(REQUIREMENTS)]
        subprocess.run(command, check=True)
        shutil.copyfile(REQUIREMENTS, done)
    return python


def versions(python):
    """Of what matters in its environment."""
    names = ("olive-ai", "onnxruntime", "onnx", "torch", "transformers", "pydantic", "optuna")
    code = f"import importlib.metadata as m; print(*(m.version(n) for n in {names!r}))"
    told = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return dict(zip(names, told.stdout.split(), strict=True))


def environment(threads):
    """For Olive's process: nothing of ours, nothing to the network."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return {**own, **QUIET, "OMP_NUM_THREADS": str(threads)}


def samples_config(name, folder, parts, port, *, batch=1, most=None):
    """Samples of these parts, so many a call."""
    load = {"folder": str(folder), "parts": parts, "name": port, "most": most}
    return {
        "name": name,
        "user_script": str(SCRIPT),
        "load_dataset_config": {"type": "parts_of_samples", "params": load},
        "post_process_data_config": {"type": "largest_output"},
        "dataloader_config": {"params": {"batch_size": batch}},
    }


def metrics(drop, classes, threads):
    """The least latency at batch 1, and what may be lost of the accuracy."""
    settings = {"onnx": {"session_options": {"intra_op_num_threads": threads}}}
    goal = {"type": "max-degradation", "value": drop}
    of_classes = {"task": "multiclass", "num_classes": classes}
    return [
        {
            "name": "latency",
            "type": "latency",
            "data_config": "one",
            "sub_types": [{"name": "avg", "priority": 1}],
            "user_config": {"inference_settings": settings},
        },
        {
            "name": "accuracy",
            "type": "accuracy",
            "data_config": "judged",
            "sub_types": [{"name": "accuracy_score", "priority": 2, "goal": goal, "metric_config": of_classes}],
            "user_config": {"inference_settings": settings},
        },
    ]


def among(*values):
    """A parameter that is searched."""
    return {"olive_parameter_type": "SearchParameter", "type": "Categorical", "support": list(values)}


def default_passes(threads, **_):
    """Of the example."""
    return {
        "quantisation": {
            "type": "OnnxQuantization",
            "data_config": "calibrated",
            "precision": "uint8",
            "activation_type": "uint8",
            "calibrate_method": "MinMax",
            "quant_preprocess": True,
        },
        "session": {"type": "OrtSessionParamsTuning", "data_config": "one", "intra_thread_num_list": threads},
    }


def tuned_passes(threads, narrow):
    """Of an expert."""
    weights = {"precision": "int8", "per_channel": True, "reduce_range": narrow, "quant_preprocess": True}
    static = {
        "type": "OnnxStaticQuantization",
        "data_config": "calibrated",
        "quant_format": "QDQ",
        "activation_type": "uint8",
        "calibrate_method": among("MinMax", "Entropy", "Percentile"),
        "prepare_qdq_config": False,
        **weights,
    }
    return {
        "quantisation": [static, {"type": "OnnxDynamicQuantization", **weights}],
        "session": {"type": "OrtSessionParamsTuning", "data_config": "one", "intra_thread_num_list": threads},
    }


def configuration(passes, *, model, samples, port, classes, drop, threads, most, out):
    """Of `olive run`."""
    return {
        "input_model": {"type": "OnnxModel", "model_path": str(model)},
        "systems": {
            "here": {
                "type": "LocalSystem",
                "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
            }
        },
        "data_configs": [
            samples_config("calibrated", samples, ["calibrate"], port, most=most),
            samples_config("judged", samples, JUDGED, port, batch=BATCH),
            samples_config("one", samples, ["search"], port, most=1),
        ],
        "evaluators": {"both": {"metrics": metrics(drop, classes, threads)}},
        "passes": passes,
        "search_strategy": {"execution_order": "joint", "sampler": "sequential"},
        "evaluator": "both",
        "host": "here",
        "target": "here",
        "cache_dir": str(out / "cache"),
        "output_dir": str(out / "found"),
    }


def chosen(folder):
    """What was done to the form that it left in its output folder, out of how many that it tried."""
    file = folder / "footprint.json"
    if not file.exists():
        return "no search"
    nodes = json.loads(file.read_text())
    tried = {key: each for key, each in nodes.items() if each["metrics"] and each["parent_model_id"]}
    best = min((each for each in tried.values() if each["is_pareto_frontier"]), key=latency_of)
    settings = nodes[best["parent_model_id"]]["pass_run_config"]
    shown = [f"{name}={settings[name]}" for name in SHOWN if isinstance(settings.get(name), str | bool)]
    return f"{nodes[best['parent_model_id']]['from_pass']} ({', '.join(shown)}), of {len(tried)}"


def latency_of(node):
    """As Olive measured it."""
    return node["metrics"]["value"]["latency-avg"]["value"]
