"""A lens' training that is not finished yet, on disk: what a kill leaves, and what the same command goes on from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from replication.base.errors import UserError, one_line
from replication.base.files import written_whole


@dataclass(frozen=True)
class Unfinished:
    """Where a training is kept, and what it depends on."""

    path: Path
    """The file; there is none before the first `keep`."""
    settings: Mapping[str, str | int | float]
    """Everything that its bits depend on, in words that its user knows."""

    def keep(self, parameters: list[Tensor], optimizer: torch.optim.Optimizer, steps: int) -> None:
        """Keeps what has been learned in `steps` steps, whole or not at all."""
        state = {
            "settings": dict(self.settings),
            "steps": steps,
            "parameters": [parameter.detach() for parameter in parameters],
            "optimizer": optimizer.state_dict(),
        }
        with written_whole(self.path) as temporary:
            torch.save(state, temporary)

    def restore(self, parameters: list[Tensor], optimizer: torch.optim.Optimizer) -> int:
        """Puts back what was kept; returns the steps it took, 0 where nothing was.

        Raises:
            UserError: The file is damaged, or of a training with other settings.
        """
        if not self.path.exists():
            return 0
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            kept, steps = state["settings"], int(state["steps"])
        except Exception as error:  # torch's unpickler raises almost anything where bytes are damaged
            raise UserError(f"{self.path}: damaged ({one_line(error)}); delete it to begin anew") from None
        for name in [*self.settings, *kept]:
            if kept.get(name) != self.settings.get(name):
                raise UserError(
                    f"{self.path}: this training was begun with another {name} ({kept.get(name)}, now "
                    f"{self.settings.get(name)}); take that again to go on, or delete this file to begin anew"
                )
        with torch.no_grad():
            for parameter, value in zip(parameters, state["parameters"], strict=True):
                parameter.copy_(value)
        optimizer.load_state_dict(state["optimizer"])
        return steps
