"""The model and the process that a guidance was found for."""

from dataclasses import dataclass
from typing import Any

from guidegym.codec import check_keys, from_object, to_object
from guidegym.diffusion import Process
from guidegym.errors import FileFormatError
from guidegym.guidance.guide import Networks
from guidegym.registry import names


@dataclass(frozen=True)
class FoundFor:
    """What a guidance was found for. Its process says what the times of its schedules are.

    Args:
        model: Name of the model.
        process: Its noise process; None if it is not a registered one.
    """

    model: str
    process: Process | None = None

    @classmethod
    def of(cls, networks: Networks) -> "FoundFor":
        """Return the note of a model."""
        process = networks.process
        try:
            named = to_object(process, "process")["kind"] in names("process")
        except ValueError:  # a process of the user's own that is no dataclass, or has no name
            named = False
        return cls(networks.name, process if named else None)

    def to_object(self) -> dict[str, Any]:
        """Return the note as a JSON object."""
        process = None if self.process is None else to_object(self.process, "process")
        return {"model": self.model, **({} if process is None else {"process": process})}

    @classmethod
    def from_object(cls, content: Any, source: str) -> "FoundFor":
        """Parse a JSON object.

        Raises:
            FileFormatError: If it is not such an object.
        """
        if not isinstance(content, dict):
            raise FileFormatError(f"{source} must be an object with a `model`, got {content!r:.80}")
        check_keys(content, {"model"}, source, optional={"process"})
        if not isinstance(content["model"], str):
            raise FileFormatError(f"{source}: `model` must be the name of a model, got {content['model']!r:.80}")
        given = content.get("process")
        return cls(content["model"], None if given is None else from_object(given, "process", f"{source}: process"))
