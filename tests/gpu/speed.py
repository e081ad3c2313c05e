"""Speed and memory of training: which share of the card's limits a step reaches, reading, several processes on one GPU."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checks import Machine, result, seconds, synchronise
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from toys import model, people

from neurostrata.fusion.data.volumes import VolumeSet
from neurostrata.fusion.training.loop import _loader
from neurostrata.fusion.training.machine import Machine as Resources
from neurostrata.fusion.training.module import EpochBatches

#: Seconds per person and step on the paper's Titan V (Dimitri 2022, 2.1.3), and the trainings of its Table 2.
PAPER_SECONDS, TABLE_2 = 0.7, {"trainings": 11, "people": 1000, "epochs": 200}


class BytesMoved(TorchDispatchMode):
    """Counts the bytes that every operation reads and writes, were each to pass through memory once."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            seen: list[Any] = [args, list((kwargs or {}).values()), out]
            while seen:
                item = seen.pop()
                if isinstance(item, torch.Tensor):
                    self.total += item.numel() * item.element_size()
                elif isinstance(item, (list, tuple)):
                    seen += item
        return out


def card(where: Machine) -> list[dict[str, Any]]:
    """Measure the card's own limits: copying memory, and products of matrices."""
    size = 2**22 if where.short else 2**30
    source = torch.empty(size, dtype=torch.uint8, device=where.device)
    target = torch.empty_like(source)
    found = [
        result(
            "copy within the card's memory",
            2 * size / seconds(lambda: target.copy_(source), where.device, 10) / 1e9,
            unit="GB/s",
            note="bytes read and written",
        )
    ]
    side = 512 if where.short else 8192
    for name in ("float32", "bfloat16"):
        a = torch.randn(side, side, device=where.device, dtype=getattr(torch, name))
        b = torch.randn_like(a)
        taken = seconds(lambda a=a, b=b: a @ b, where.device, 5)  # type: ignore[misc]
        found.append(result(f"product of matrices, {name}", 2 * side**3 / taken / 1e12, unit="TFLOP/s"))
    return found


def _step(
    where: Machine,
    shape: tuple[int, int, int],
    batch: int,
    precision: str,
    graph: bool = False,
) -> Callable[[], Any]:
    """Return a function that does one training step of the separable autoencoder, with the default options."""
    network = model("separable_autoencoder", shape).network.to(where.device).train()  # type: ignore[attr-defined]
    optimiser = torch.optim.Adam(
        network.parameters(), eps=1e-7, weight_decay=1e-4, capturable=graph, fused=where.gpu
    )
    volumes = torch.rand(batch, 2, *shape, device=where.device)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        mixed = (
            torch.autocast(where.device, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
        )
        with mixed:
            loss = network.losses(volumes).mean()
        loss.backward()
        optimiser.step()

    if not graph:
        return step
    side_stream = torch.cuda.Stream()
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side_stream)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        step()
    return recorded.replay


def plain_work(shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return the bytes that one person's step reads and writes, and its operations, with a plain operation for each layer."""
    network = model("separable_autoencoder", shape).network.to("meta").train()  # type: ignore[attr-defined]
    volumes = torch.empty((1, 2, *shape), device="meta")
    with BytesMoved() as moved, FlopCounterMode(display=False) as counted:
        network.losses(volumes).mean().backward()
    return moved.total, counted.get_total_flops()


def training_step(where: Machine) -> list[dict[str, Any]]:
    """Time training steps of 2 x 128x128x96, in fp32 and bf16, kernel by kernel and as one CUDA graph."""
    shape = (64, 32, 32) if where.short else (128, 128, 96)
    limits = {line["name"]: line["value"] for line in card(where)}
    copy = limits["copy within the card's memory"] * 1e9
    bytes_each, flops_each = plain_work(shape)
    variants: list[tuple[str, int, str, bool]] = [("fp32", 1, "fp32", False)]
    if not where.short:
        variants += [("fp32", 4, "fp32", False)]
    if where.gpu and not where.short:
        variants += [
            (f"{precision}, one CUDA graph", batch, precision, True)
            for precision in ("fp32", "bf16")
            for batch in (1, 4, 16)
        ]
    found = []
    for name, batch, precision, graph in variants:
        what = f"training step of 2 x {'x'.join(map(str, shape))}, {name}, {batch} people"
        begun = time.perf_counter()
        try:
            if where.gpu:
                torch.cuda.reset_peak_memory_stats()
            step = _step(where, shape, batch, precision, graph)
            step()
            synchronise(where.device)
            first = time.perf_counter() - begun
            taken = seconds(step, where.device, 2 if where.short else 10, warm_up=3)
        except Exception as problem:
            found.append(result(what, note=f"failed: {type(problem).__name__}: {problem}"[:300]))
            continue
        person = taken / batch
        peak = limits[f"product of matrices, {'bfloat16' if precision == 'bf16' else 'float32'}"] * 1e12
        work = np.prod([TABLE_2[key] for key in TABLE_2])
        found.append(
            result(
                what,
                taken,
                unit="s",
                note=f"{PAPER_SECONDS / person:.0f} times the paper's throughput",
                seconds_per_person=person,
                first_step_s=first,
                share_of_bandwidth=bytes_each * batch / taken / copy,
                share_of_flops=flops_each * batch / taken / peak,
                table_2_hours=work * person / 3600,
                memory_gib=torch.cuda.max_memory_allocated() / 2**30 if where.gpu else None,
            )
        )
    found.append(
        result(
            "operations of one person's step",
            flops_each / 1e9,
            unit="GFLOP",
            note=f"plain operations read and write {bytes_each / 1e9:.3g} GB",
        )
    )
    return found


def kernels(where: Machine) -> list[dict[str, Any]]:
    """List the kernels that an fp32 step spends its time in, on a GPU one that is recorded as a CUDA graph."""
    from torch.profiler import ProfilerActivity, profile

    shape, batch = ((64, 32, 32), 1) if where.short else ((128, 128, 96), 4)
    step = _step(where, shape, batch, "fp32", where.gpu)
    step()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if where.gpu else [])]
    with profile(activities=activities) as profiler:
        step()
        synchronise(where.device)
    column = "self_device_time_total" if where.gpu else "self_cpu_time_total"
    events = sorted(profiler.key_averages(), key=lambda event: -getattr(event, column))
    total = sum(getattr(event, column) for event in events)
    top = [
        {"kernel": event.key[:90], "share": getattr(event, column) / max(total, 1), "calls": event.count}
        for event in events[:20]
    ]
    return [
        result(
            "kernels of a training step",
            total / 1e6,
            unit="s",
            note="; ".join(f"{row['share']:.0%} {row['kernel'][:40]}" for row in top[:4]),
            kernels=top,
        )
    ]


def convolutions(where: Machine) -> list[dict[str, Any]]:
    """Compare convolutions of few channels, and batch normalisation of them, with torch's: error, and times of all gradients."""
    from torch.nn import functional

    from neurostrata.fusion.layers.blocks import has_triton

    shape, batch = ((16, 16, 16), 2) if where.short else ((128, 128, 96), 4)
    if not (where.gpu and has_triton()):
        return [result("convolutions of few channels", note="left out: needs a GPU and Triton")]
    from neurostrata.fusion.layers.triton_convolution import triton_convolution
    from neurostrata.fusion.layers.triton_normalisation import activated

    torch.backends.cudnn.allow_tf32 = False
    repeats = 1 if where.short else 3
    found = []
    # channels in and out, groups, by how much the grid is smaller, kernel
    sizes = [
        (1, 1, 1, 1, (5, 6, 5)),
        (2, 1, 1, 1, (5, 6, 5)),
        (2, 2, 2, 2, (5, 6, 5)),
        (4, 2, 1, 2, (5, 6, 5)),
        (4, 4, 4, 2, (5, 6, 5)),
        (4, 8, 1, 4, (5, 6, 5)),
        (8, 8, 8, 4, (5, 6, 5)),
        (1, 1, 1, 1, (1, 1, 1)),
        (4, 4, 1, 2, (1, 1, 1)),
        (8, 16, 1, 8, (5, 6, 5)),
        (16, 16, 16, 8, (5, 6, 5)),
        (32, 32, 32, 16, (5, 6, 5)),
        (16, 16, 1, 8, (1, 1, 1)),
        (32, 32, 1, 16, (1, 1, 1)),
    ]
    for inputs, outputs, groups, smaller, kernel in sizes:
        grid = [side // smaller for side in shape]
        for kind in (torch.float32, torch.bfloat16):
            like: dict[str, Any] = {"device": where.device, "dtype": kind}
            image = torch.randn(batch, inputs, *grid, **like).requires_grad_()
            weight = (torch.randn(outputs, inputs // groups, *kernel, **like) / 10).requires_grad_()
            bias = torch.randn(outputs, **like).requires_grad_()
            gradient = torch.randn(batch, outputs, *grid, **like)

            def ours(image=image, weight=weight, bias=bias, gradient=gradient, groups=groups):  # type: ignore[no-untyped-def]
                out = triton_convolution(image, weight, bias, groups)
                return [out, *torch.autograd.grad(out, [image, weight, bias], gradient)]

            def plain(image=image, weight=weight, bias=bias, gradient=gradient, groups=groups):  # type: ignore[no-untyped-def]
                out = functional.conv3d(image, weight, bias, padding="same", groups=groups)
                return [out, *torch.autograd.grad(out, [image, weight, bias], gradient)]

            some = [image[:1].detach().requires_grad_(), weight, bias, gradient[:1]]
            exact = plain(*(given.double() for given in some))
            worst = max(
                float((mine.double() - true).norm() / true.norm())
                for mine, true in zip(ours(*some), exact, strict=True)
            )
            taken, theirs = (seconds(work, where.device, repeats) for work in (ours, plain))
            found.append(
                result(
                    f"convolution {inputs} to {outputs}, {groups} group(s), {'x'.join(map(str, kernel))} on "
                    f"{'x'.join(map(str, grid))}, {str(kind)[6:]}, {batch} people",
                    worst,
                    1e-5 if kind == torch.float32 else 1e-2,
                    note=f"error against float64; with gradients {taken * 1e3:.3g} ms, torch {theirs * 1e3:.3g} ms",
                    ours_s=taken,
                    torch_s=theirs,
                )
            )
    image = torch.randn(batch, 1, *shape, device=where.device).requires_grad_()
    weight, bias = (
        torch.ones(1, device=where.device).requires_grad_(),
        torch.zeros(1, device=where.device).requires_grad_(),
    )
    gradient = torch.randn_like(image)
    averages = torch.zeros(2, 1, device=where.device)
    ways = {
        "ours": lambda: activated(image, weight, bias, *averages, momentum=0.1, epsilon=1e-3, dropout=0.0),
        "torch": lambda: functional.elu(
            functional.batch_norm(image, None, None, weight, bias, training=True, eps=1e-3)
        ),
    }
    times = {
        name: seconds(
            lambda way=way: torch.autograd.grad(way(), [image, weight, bias], gradient), where.device, repeats
        )  # type: ignore[misc]
        for name, way in ways.items()
    }
    apart = float((ways["ours"]() - ways["torch"]()).abs().max())
    found.append(
        result(
            "batch normalisation and ELU of one channel",
            apart,
            1e-4,
            note=f"largest difference; with gradients {times['ours'] * 1e3:.3g} ms, torch {times['torch'] * 1e3:.3g} ms",
            ours_s=times["ours"],
            torch_s=times["torch"],
        )
    )
    return found


def reading(where: Machine) -> list[dict[str, Any]]:
    """Read volumes ahead of the GPU: how many people a second arrive on the device."""
    number, shape = (8, (32, 32, 32)) if where.short else (64, (128, 128, 96))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        everybody = people(number, shape, Path(folder))
        for name, memory in (("from files, 4 processes", 0), ("kept in memory", 10**6)):
            fresh = VolumeSet(everybody.volumes, everybody.subjects, everybody.scaling)
            batches = EpochBatches(number, 4, 1, 1)
            loader = _loader(fresh, batches, Resources(threads=8, memory_mb=memory), 1, where.gpu)
            for epoch in range(2):  # the first starts the processes, and reads what stays in memory
                batches.set_epoch(epoch)
                start = time.perf_counter()
                for batch in loader:
                    batch.to(where.device, non_blocking=True)
                synchronise(where.device)
                taken = time.perf_counter() - start
            found.append(
                result(
                    f"reading 2 x {'x'.join(map(str, shape))}, {name}",
                    number / taken,
                    unit="people/s",
                    note="onto the device, second epoch",
                )
            )
            del loader
    return found


def _worker(device: str, short: bool, start: float, until: float, queue: Any) -> None:
    where = Machine(device, short)
    torch.set_num_threads(2)
    step = _step(where, (64, 32, 32) if short else (128, 128, 96), 1, "fp32", where.gpu)
    step()
    synchronise(device)
    while time.time() < start:
        time.sleep(0.01)
    late, steps = time.time() > start + 0.5, 0
    while time.time() < until:
        step()
        synchronise(device)
        steps += 1
    queue.put((steps, late))


def together(where: Machine) -> list[dict[str, Any]]:
    """Train in several processes on one device at the same time."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    found = []
    length, wait = (3.0, 15.0) if where.short else (4.0, 14.0)
    for processes in (1,) if where.short else (1, 4):
        queue = context.Queue()
        start = time.time() + wait
        workers = [
            context.Process(target=_worker, args=(where.device, where.short, start, start + length, queue))
            for _ in range(processes)
        ]
        for worker in workers:
            worker.start()
        done = [queue.get(timeout=wait + length + 120) for _ in workers]
        for worker in workers:
            worker.join()
        note = "fp32, one person a step" + ("; some began late" if any(late for _, late in done) else "")
        found.append(
            result(
                f"{processes} training(s) on one device",
                sum(steps for steps, _ in done) / length,
                unit="people/s",
                note=note,
            )
        )
    return found


SPEED = {
    "card": card,
    "training step": training_step,
    "convolutions": convolutions,
    "kernels": kernels,
    "reading": reading,
    "together": together,
}
