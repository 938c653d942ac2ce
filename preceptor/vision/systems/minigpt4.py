"""MiniGPT-4 (Zhu et al. 2023, arXiv 2304.10592): BLIP-2's tower and Q-Former as they are, and one linear map that
learns to speak to another language model."""

from preceptor.vision.splice_options import MiniGpt4Options
from preceptor.vision.systems.blip2 import Blip2


class MiniGpt4(Blip2):
    """What makes it another system is what learns, and which language model the step names."""

    options_class = MiniGpt4Options


SYSTEM = MiniGpt4
