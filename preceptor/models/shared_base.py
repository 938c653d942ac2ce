"""One base in memory for every adapter that names it: each is a network of its own over the same weights.

So several adapters are served beside one another, and beside their base, for the memory of the base and of what they
learned; none can touch another, and the base stays to the bit what it was.
"""

from pathlib import Path
from weakref import WeakValueDictionary

from torch import nn

from preceptor.models.adapter_folder import adapter_base, attach_adapter
from preceptor.models.adapters import view_of
from preceptor.models.causal import load_causal

_bases: WeakValueDictionary[tuple, nn.Module] = WeakValueDictionary()  # a base goes when the last that uses it does


def load_shared(source: Path | str) -> nn.Module:
    """A causal model for reading alone; where it, or the base of an adapter, is loaded already, its weights are shared.

    Raises:
        UserError: as `load_causal`.
    """
    base = adapter_base(source)
    if base is None:
        return _shared(source)
    found = _shared(base)
    model = view_of(found)
    attach_adapter(model, source)
    object.__setattr__(model, "shared_base", found)  # not registered: it lives as long as this view of it
    return model


def _shared(source: Path | str) -> nn.Module:
    """The base of a folder as its files are now."""
    path = Path(source)
    files = ((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in sorted(path.glob("*"))
             if file.is_file())  # a configuration that was changed makes another network of the same weights
    key = (str(path.resolve()) if path.is_dir() else str(source), *files)
    found = _bases.get(key)
    if found is None:
        found = _bases[key] = load_causal(source)
    return found
