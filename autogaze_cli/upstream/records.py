"""Dictionaries with attributes: what the published interface returns and stores."""

from __future__ import annotations

from typing import Any, Self

import torch


class Record(dict[str, Any]):
    """A dictionary whose keys are attributes too.

    >>> record = Record(size=224)
    >>> record.size, record["size"]
    (224, 224)
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary, records within it included."""
        return {
            key: value.to_dict() if isinstance(value, Record) else value
            for key, value in self.items()
        }


class BatchFeature(Record):
    """What an image processor returns."""

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move its tensors to a device, or convert them to a type, in place."""
        for key, value in self.items():
            if isinstance(value, torch.Tensor):
                self[key] = value.to(*args, **kwargs)
        return self


class ModelOutput(Record):
    """What an encoder returns; also a tuple of what is not None: ``output[0]``, ``output[:2]``."""

    def __getitem__(self, key: str | int | slice) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def to_tuple(self) -> tuple[Any, ...]:
        """The values that are not None, in order."""
        return tuple(value for value in self.values() if value is not None)


def record_of(value: Any) -> Any:
    """A value of a JSON file, its objects as records."""
    if isinstance(value, dict):
        return Record({key: record_of(item) for key, item in value.items()})
    return value
