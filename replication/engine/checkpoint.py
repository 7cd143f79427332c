"""The checkpoint of a lens' training: what a kill leaves on disk, and what the same command resumes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from replication.base.errors import UserError, one_line
from replication.base.files import written_whole


@dataclass(frozen=True)
class Checkpoint:
    """The file of an unfinished training, and the settings that its bits depend on."""

    path: Path
    """The file; there is none before the first `keep`."""
    settings: Mapping[str, str | int | float]
    """Everything that its bits depend on, under names that the user knows."""

    def keep(self, parameters: list[Tensor], optimizer: torch.optim.Optimizer, steps: int) -> None:
        """Writes the state after `steps` steps, whole or not at all."""
        state = {
            "settings": dict(self.settings),
            "steps": steps,
            "parameters": [parameter.detach() for parameter in parameters],
            "optimizer": optimizer.state_dict(),
        }
        with written_whole(self.path) as temporary:
            torch.save(state, temporary)

    def restore(self, parameters: list[Tensor], optimizer: torch.optim.Optimizer) -> int:
        """Restores the state that was kept; returns its number of steps, 0 if there is none.

        Raises:
            UserError: The file is damaged, or of a training with other settings.
        """
        if not self.path.exists():
            return 0
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            kept, steps = state["settings"], int(state["steps"])
        except Exception as error:  # torch's unpickler raises almost anything where bytes are damaged
            raise UserError(f"{self.path}: damaged ({one_line(error)}); delete it to start over") from None
        for name in [*self.settings, *kept]:
            if kept.get(name) != self.settings.get(name):
                raise UserError(
                    f"{self.path}: this training was begun with another {name} ({kept.get(name)}, now "
                    f"{self.settings.get(name)}); use the former again to resume, or delete this file to start over"
                )
        with torch.no_grad():
            for parameter, value in zip(parameters, state["parameters"], strict=True):
                parameter.copy_(value)
        optimizer.load_state_dict(state["optimizer"])
        return steps
