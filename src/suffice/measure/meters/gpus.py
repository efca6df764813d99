"""NVML -> utilisation, memory, power, energy, temperature, clocks and throttle reasons of each GPU.

Names and units are the CloudWatch agent's where it has one: utilisation in percent, memory in MiB, power in W,
temperature in °C, clocks in MHz. `energy_j` is NVML's counter since the driver was loaded. On Hopper and later
`sm_active`, `tensor_active` and `dram_active` (percent) tell what `utilization_gpu` hides: it counts a GPU as busy
while any kernel runs on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from suffice.measure.meters.tree import ProcessTree

INSTALL = "pip install nvidia-ml-py"
MIB = 1 << 20
GPM = {"sm_active": "NVML_GPM_METRIC_SM_UTIL", "tensor_active": "NVML_GPM_METRIC_ANY_TENSOR_UTIL"}
GPM_DRAM = "NVML_GPM_METRIC_DRAM_BW_UTIL"


class GpuMeter:
    """Every GPU that the driver shows; `nvml` is the module `pynvml`, given so that its absence can be tested."""

    key = "gpus"

    def __init__(self, nvml: Any = None) -> None:
        self.nvml = nvml
        self.handles: list[Any] = []
        self.gauges: list[Callable[[], Mapping[str, float]]] = []
        self.unavailable = self._open()

    def _open(self) -> str | None:
        if self.nvml is None:
            try:
                import pynvml  # noqa: PLC0415 - a machine without a GPU need not load it before it is asked for
            except ImportError:
                return f"nvidia-ml-py is not installed: {INSTALL}"
            self.nvml = pynvml
        try:
            self.nvml.nvmlInit()
            count = self.nvml.nvmlDeviceGetCount()
            self.handles = [self.nvml.nvmlDeviceGetHandleByIndex(i) for i in range(count)]
        except self.nvml.NVMLError as error:
            return f"NVML does not answer ({error}): there is no NVIDIA GPU, or no driver that this process can reach"
        self.gauges = [ActivityGauge(self.nvml, h).read for h in self.handles]
        return None if self.handles else "the driver is there but shows no GPU"

    def driver_version(self) -> str | None:
        """The version of the NVIDIA driver, or None where there is none."""
        return None if self.unavailable else _text(self.nvml.nvmlSystemGetDriverVersion())

    def read(self, tree: ProcessTree) -> list[dict[str, Any]]:
        """One reading a GPU; what a GPU does not tell is left out."""
        return [self._read_one(i) for i in range(len(self.handles))]

    def _read_one(self, index: int) -> dict[str, Any]:
        nvml, handle = self.nvml, self.handles[index]
        reading: dict[str, Any] = {"index": index}
        for names, ask in _QUESTIONS:
            try:
                answer = ask(nvml, handle)
            except nvml.NVMLError:
                continue
            reading.update(zip(names, answer, strict=True))
        reading.update(self.gauges[index]())
        return reading


class ActivityGauge:
    """The GPU's performance counters between two readings, where the GPU has them."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self.nvml = nvml
        self.handle = handle
        self.samples: list[Any] = []
        try:
            if nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
                self.samples = [nvml.nvmlGpmSampleAlloc() for _ in range(2)]
                nvml.nvmlGpmSampleGet(handle, self.samples[0])
        except (nvml.NVMLError, AttributeError):
            self.samples = []

    def read(self) -> Mapping[str, float]:
        """Percent of the time since the last reading in which the units were busy."""
        if not self.samples:
            return {}
        nvml = self.nvml
        before, after = self.samples
        try:
            nvml.nvmlGpmSampleGet(self.handle, after)
            wanted = {**GPM, "dram_active": GPM_DRAM}
            request = nvml.c_nvmlGpmMetricsGet_t()
            request.version = nvml.NVML_GPM_METRICS_GET_VERSION
            request.numMetrics = len(wanted)
            request.sample1, request.sample2 = before, after
            for slot, constant in enumerate(wanted.values()):
                request.metrics[slot].metricId = getattr(nvml, constant)
            nvml.nvmlGpmMetricsGet(request)
        except (nvml.NVMLError, AttributeError):
            return {}
        self.samples = [after, before]
        answers = zip(wanted, request.metrics, strict=False)
        return {name: metric.value for name, metric in answers if metric.nvmlReturn == 0}


def _clock(nvml: Any, handle: Any, kind: str) -> float:
    return float(nvml.nvmlDeviceGetClockInfo(handle, getattr(nvml, f"NVML_CLOCK_{kind}")))


def _utilisation(nvml: Any, handle: Any) -> tuple[float, float]:
    rates = nvml.nvmlDeviceGetUtilizationRates(handle)
    return float(rates.gpu), float(rates.memory)


def _memory(nvml: Any, handle: Any) -> tuple[float, float, float]:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    return memory.total / MIB, memory.used / MIB, memory.free / MIB


def _clocks(nvml: Any, handle: Any) -> tuple[float, ...]:
    return tuple(_clock(nvml, handle, kind) for kind in ("GRAPHICS", "SM", "MEM", "VIDEO"))


def _throttle_reasons(nvml: Any, handle: Any) -> tuple[list[str]]:
    bits = nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
    prefix = "nvmlClocksEventReason"
    names = (n for n in dir(nvml) if n.startswith(prefix) and not n.endswith(("All", "None")))
    return ([n.removeprefix(prefix) for n in names if getattr(nvml, n) & bits],)


def _processes(nvml: Any, handle: Any) -> tuple[list[int]]:
    return (sorted(p.pid for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle)),)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


_QUESTIONS: tuple[tuple[tuple[str, ...], Callable[[Any, Any], Any]], ...] = (
    (("name",), lambda n, h: (_text(n.nvmlDeviceGetName(h)),)),
    (("uuid",), lambda n, h: (_text(n.nvmlDeviceGetUUID(h)),)),
    (("utilization_gpu", "utilization_memory"), _utilisation),
    (("memory_total", "memory_used", "memory_free"), _memory),
    (("power_draw",), lambda n, h: (n.nvmlDeviceGetPowerUsage(h) / 1e3,)),
    (("power_limit",), lambda n, h: (n.nvmlDeviceGetEnforcedPowerLimit(h) / 1e3,)),
    (("energy_j",), lambda n, h: (n.nvmlDeviceGetTotalEnergyConsumption(h) / 1e3,)),
    (("temperature_gpu",), lambda n, h: (float(n.nvmlDeviceGetTemperature(h, n.NVML_TEMPERATURE_GPU)),)),
    (("fan_speed",), lambda n, h: (float(n.nvmlDeviceGetFanSpeed(h)),)),
    (("clocks_current_graphics", "clocks_current_sm", "clocks_current_memory", "clocks_current_video"), _clocks),
    (("pcie_link_gen_current",), lambda n, h: (float(n.nvmlDeviceGetCurrPcieLinkGeneration(h)),)),
    (("pcie_link_width_current",), lambda n, h: (float(n.nvmlDeviceGetCurrPcieLinkWidth(h)),)),
    (("throttle_reasons",), _throttle_reasons),
    (("pids",), _processes),
)
