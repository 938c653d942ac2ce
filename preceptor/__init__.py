"""Preceptor: InstructGPT as software, from raw text to an assistant that people prefer.

The rooms of this package are the table of contents, in the order that data takes; docs/architecture.md draws
the floors.
"""

__version__ = "0.1.0"
