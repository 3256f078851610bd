"""Who does something: named in the request's body, until people sign in."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$")]


class Actor(BaseModel):
    """A body that names who does it; never a patient."""

    model_config = ConfigDict(extra="forbid")

    by: Name
