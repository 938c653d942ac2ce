"""Preceptor: InstructGPT as software, from raw text to an assistant that people prefer.

The rooms of this package are the table of contents, in the order that data takes; docs/architecture.md draws
the floors.
"""

import logging

__version__ = "0.1.0"

# Where torchao is installed, transformers imports it, and it warns of kernels for machines that this one is not.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)
