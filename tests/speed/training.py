"""Training, generating, and the memory they take.

Images per second are rounds x seeds x batch / time; asv judges times, so times are kept.
"""

from __future__ import annotations

import torch

from .common import DEVICES, metric_inputs, names, ours, skipping, stack, synchronise, torch_device, train_rounds

ROUNDS = {"mlp": 20, "conv": 1}


def train(model: str, backbone: str, device: str, seeds: int = 1, speed: str = "auto") -> None:
    """Train for a fixed number of rounds and wait for the device."""
    train_rounds(stack(model, backbone, device, seeds, speed), ROUNDS[backbone])
    synchronise(device)


class Rounds:
    """20 rounds of a model from each baseline file on the digits networks, or one on DCGAN's; batch 100."""

    version = "1"
    params = (names()["models"], ["mlp", "conv"], DEVICES)
    param_names = ("model", "backbone", "device")

    def setup(self, model: str, backbone: str, device: str) -> None:
        torch_device(device)
        stack(model, backbone, device)

    def time_rounds(self, model: str, backbone: str, device: str) -> None:
        train(model, backbone, device)


class Seeds:
    """20 rounds of several seeds in one stack, digits networks."""

    version = "1"
    params = ([1, 5, 16], DEVICES)
    param_names = ("seeds", "device")

    def setup(self, seeds: int, device: str) -> None:
        torch_device(device)
        stack("gan", "mlp", device, seeds)

    def time_rounds(self, seeds: int, device: str) -> None:
        train("gan", "mlp", device, seeds)


class Engines:
    """20 rounds of 16 seeds by each engine, digits networks."""

    version = "1"
    params = (["eager", "compiled", "graph"], DEVICES)
    param_names = ("engine", "device")

    def setup(self, engine: str, device: str) -> None:
        torch_device(device)
        stack("gan", "mlp", device, 16, engine)

    def time_rounds(self, engine: str, device: str) -> None:
        train("gan", "mlp", device, 16, engine)


class Views:
    """Minibatches of moving MNIST's shape, 50 sequences of 16 frames of 64x64, from random digits."""

    version = "1"
    params = (DEVICES,)
    param_names = ("device",)

    def setup(self, device: str) -> None:
        images = torch.randint(256, (1000, 1, 28, 28), dtype=torch.uint8, device=torch_device(device))
        with skipping():
            self.batches = ours("Batches")(images, 50, [("random", "none", 0)], view=ours("MNIST"))
        self.time_minibatch(device)

    def time_minibatch(self, device: str) -> None:
        self.batches.seek(0)
        self.batches.get(torch.float32)
        synchronise(device)


class Sampling:
    """10,000 generated digits."""

    version = "1"
    params = (DEVICES,)
    param_names = ("device",)

    def setup(self, device: str) -> None:
        torch_device(device)
        self.time_sample(device)

    def time_sample(self, device: str) -> None:
        like = metric_inputs("gan", device)
        with skipping():
            type(like)(like.game, like.spec, like.real_data).fake(10_000)  # a new one has kept no images
        synchronise(device)


class Memory:
    """Most memory of the process while five seeds train."""

    version = "1"
    params = (["mlp", "conv"],)
    param_names = ("backbone",)

    def setup(self, backbone: str) -> None:
        stack("gan", backbone, "torch:cpu", 5)

    def peakmem_rounds(self, backbone: str) -> None:
        train("gan", backbone, "torch:cpu", 5)


class CudaMemory:
    """Most GPU memory held by tensors while five seeds train."""

    version = "1"
    params = (["mlp", "conv"],)
    param_names = ("backbone",)
    unit = "bytes"

    def setup(self, backbone: str) -> None:
        torch_device("torch:cuda")
        stack("gan", backbone, "torch:cuda", 5)

    def track_memory(self, backbone: str) -> int:
        torch.cuda.reset_peak_memory_stats()
        train("gan", backbone, "torch:cuda", 5)
        return torch.cuda.max_memory_allocated()
