"""The machine: what it is, its threads, its allocator, and one seed for every source of randomness."""

import ctypes
import os
import platform
import random
import resource
import sys
from functools import cache
from typing import Any

# glibc's names of the three dials, from malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


def tune_allocator() -> bool:
    """Keep freed memory in the process, before anything large is allocated; true where the C library is glibc.

    glibc returns large blocks to the kernel, and every training step pays the page faults again: measured 1.1 to 1.6
    times slower on a two-core CPU (docs/performance.md).
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
    mallopt(M_TOP_PAD, 64 << 20)
    return True


def cores() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Threads that compute: one a processor, or as many as OMP_NUM_THREADS says.

    More threads than processors wait for each other at every small operation.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(asked), cores()) if asked.isdecimal() and int(asked) else cores()


def prepare(seed: int) -> None:
    """Make the process ready to train: allocator, threads, deterministic algorithms, seeded generators."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar for each model loaded or saved would drown our own progress

    tune_allocator()
    torch.set_num_threads(threads())
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    torch.use_deterministic_algorithms(True)
    # Filling every fresh tensor against reads of uninitialised memory costs time and guards nothing of ours.
    torch.utils.deterministic.fill_uninitialized_memory = False
    random.seed(seed)
    torch.manual_seed(seed)


@cache
def has_bfloat16() -> bool:
    """Whether matrix products in bf16 are faster here than in fp32: a GPU, or a CPU with instructions for it."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & _cpu_flags())


@cache
def _cpu_flags() -> frozenset[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line for line in file if line.startswith(("flags", "Features"))]
    except OSError:
        return frozenset()
    return frozenset(lines[0].partition(":")[2].split()) if lines else frozenset()


def device() -> str:
    """Where models live: `cuda` where there is a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def peak_rss_mb() -> float:
    """The largest resident memory of this process so far, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def description() -> dict[str, Any]:
    """The machine for the manifest: processor, cores, memory, instruction set, GPU."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _cpu_name(),
        "cores": cores(),
        "memory_gib": round(memory, 1),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bf16": has_bfloat16(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions that can change a result's bits."""
    from importlib.metadata import version

    from preceptor import __version__

    return {"preceptor": __version__, "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "tokenizers", "numpy")}}
