"""The vectors of an album's pictures, which a language model reads in the places of their entries.

`words_for` (models/vision/splice.py) gives pictures numbers while a batch is read; an album gives them numbers for
good. What made the vectors, tower and connector, is no longer there and learns no more; the language model does. Its
folder is an ordinary one that `from_pretrained` opens, with two files more:

    album.json          the names of the pictures (tokenizer/album.py)
    album.safetensors   vectors (pictures * each, width)
"""

from pathlib import Path

from torch import Tensor, nn

from preceptor.models.vision.splice import hook_words
from preceptor.tokenizer.album import FILE, Album

VECTORS = "album.safetensors"
NAME = "album_vectors"


def attach_album(model: nn.Module, source: Path | str) -> None:
    """Have a model that was loaded from a folder read the pictures of that folder's album, if it has one."""
    if (Path(source) / FILE).is_file():
        from safetensors.torch import load_file
        give_album(model, load_file(Path(source) / VECTORS)["vectors"])


def give_album(model: nn.Module, vectors_KD: Tensor) -> None:
    """From now on, entry V + k of the model's vocabulary is vector k, on the device where the model now is. They are no
    weights: nothing learns them, and nothing but `save_album` saves them."""
    table = model.get_input_embeddings()
    vectors_KD = vectors_KD.to(table.weight)
    table.register_buffer(NAME, vectors_KD, persistent=False)
    hook_words(model, vectors_KD)


def album_vectors(model: nn.Module) -> Tensor | None:
    """The vectors (pictures * each, width) that a model reads, if it has an album."""
    return getattr(model.get_input_embeddings(), NAME, None)


def save_album(model: nn.Module, album: Album, folder: Path) -> None:
    """Write both files."""
    from safetensors.torch import save_file
    save_file({"vectors": album_vectors(model).detach().cpu().contiguous()}, folder / VECTORS)
    album.save(folder)
