"""Learning-rate and batch-size schedules in closed form."""

import math

from preceptor.learn.options import FitOptions


def rate_factor(number: int, total: int, options: FitOptions) -> float:
    """The share of the peak learning rate at optimiser step `number` (1 is the first) of `total`.

    With w = round(warmup·total) warm-up steps: number/w during the warm-up, then with progress
    p = (number − w)/(total − w) and f = final_fraction
        cosine      f + (1 − f)·(1 + cos πp)/2      (Loshchilov & Hutter 2017, eq. 5, without restarts)
        linear      f + (1 − f)·(1 − p)
        polynomial  f + (1 − f)·(1 − p)^power
        wsd         1 until the last c = round(cooldown·total) steps, then with q = (number − total + c)/c
                    f + (1 − f)·(1 − √q)            (Hägele et al. 2024, arXiv 2405.18392, eq. 1)
        constant    1
    """
    warmup = round(options.warmup * total)
    if number <= warmup:
        return number / warmup
    if options.schedule == "constant":
        return 1.0
    progress = (number - warmup) / max(total - warmup, 1)
    if options.schedule == "cosine":
        falling = (1 + math.cos(math.pi * progress)) / 2
    elif options.schedule == "wsd":
        cooldown = max(round(options.cooldown * total), 1)
        falling = 1 - math.sqrt(max(number - total + cooldown, 0) / cooldown)
    else:
        falling = (1 - progress) ** (options.power if options.schedule == "polynomial" else 1.0)
    return options.final_fraction + (1 - options.final_fraction) * falling
