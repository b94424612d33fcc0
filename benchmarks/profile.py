"""Where the time of a training step goes, by torch.profiler: the reason why a speed-up is what it is."""

from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.setting import NETWORKS, Setting
from benchmarks.timing import Row
from noisybench.batches import Step
from noisybench.training.loop import Training

ROUNDS = 3
# Operations by the beginnings of their names; the first that fits counts.
PARTS = {
    "convolutions": (
        "aten::mkldnn_convolution",
        "aten::cudnn_convolution",
        "aten::convolution",
        "aten::thnn_conv",
    ),
    "batch norm": ("aten::native_batch_norm", "aten::cudnn_batch_norm", "aten::miopen_batch_norm"),
    "optimiser": ("aten::_fused",),
}
REST = "all else: activations, sums, loss, input"


def measure() -> list[Row]:
    rows = []
    for name in NETWORKS:
        setting = Setting.of(name)
        training, steps = setting.training, setting.steps
        training.model.train()
        training._step(next(steps))
        found = [of(training, [next(steps) for _ in range(setting.n)]) for _ in range(ROUNDS)]
        whole = [sum(parts.values()) for parts in found]
        rows += [
            Row(f"{name}: {part}", [parts[part] for parts in found], "its steps", whole, kind="cost")
            for part in found[0]
        ]
    return rows


def of(training: Training, steps: list[Step]) -> dict[str, float]:
    """The seconds of some steps, by part."""
    on_gpu = training.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        for step in steps:
            training._step(step)
    seconds = dict.fromkeys([*PARTS, REST], 0.0)
    for event in profiler.key_averages():
        if event.device_type == DeviceType.CUDA:
            continue  # a kernel, whose time is that of its operation
        spent = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        part = next((part for part, names in PARTS.items() if event.key.startswith(names)), REST)
        seconds[part] += spent / 1e6
    return seconds
