"""The model of every epoch, kept in folders of its own inside the sft step."""

import shutil
from pathlib import Path

from preceptor.run.errors import UserError
from preceptor.run.files import replacing

_PREFIX = "epoch-"


def epoch_folder(folder: Path, epoch: int) -> Path:
    """Where the model after `epoch` passes (1 is the first) is kept."""
    return folder / f"{_PREFIX}{epoch:02d}"


def kept_epochs(folder: Path) -> dict[int, Path]:
    """Epoch numbers, ascending, and their model folders.

    Raises:
        UserError: there are none.
    """
    found = {int(path.name.removeprefix(_PREFIX)): path for path in folder.glob(f"{_PREFIX}[0-9]*")}
    if not found:
        raise UserError(f"'{folder}' keeps no model of any epoch.", "Name the folder of a finished step of stage sft.")
    return dict(sorted(found.items()))


def copy_model(source: Path, target: Path) -> None:
    """Copy a model folder, whole or not at all."""
    with replacing(target) as temporary:
        shutil.copytree(source, temporary)
