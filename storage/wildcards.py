"""Values with ``*`` and ``?`` (PS3.4 C.2.2.2.4): in each database's words, and what an index can make of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

_WILDCARD: Final = re.compile(r"[*?]")


@dataclass(frozen=True)
class Pattern:
    """A value in which ``*`` stands for any text and ``?`` for one character; everything else is itself."""

    text: str

    @cached_property
    def wildcards(self) -> int:
        """How many it holds; several ``*`` in a row are one."""
        return len(_WILDCARD.findall(self._plainest))

    @cached_property
    def runs(self) -> tuple[str, ...]:
        """What stands between the wildcards, as it has to stand in what matches."""
        return tuple(filter(None, _WILDCARD.split(self.text)))

    @cached_property
    def start(self) -> str:
        """What all that matches begins with."""
        return _WILDCARD.split(self.text, maxsplit=1)[0]

    @cached_property
    def end(self) -> str:
        """The least text after all that begin as this one does; empty where there is none."""
        body = self.start.rstrip("\U0010ffff")
        if not body:
            return ""
        number = ord(body[-1]) + 1
        return body[:-1] + chr(0xE000 if 0xD800 <= number <= 0xDFFF else number)

    def spelt(self, dialect: str) -> str:
        """Return the pattern as SQLite's GLOB, whose LIKE knows no case, or as LIKE with a backslash wants it."""
        if dialect == "sqlite":
            return self._plainest.replace("[", "[[]")
        return re.sub(r"([%_\\])", r"\\\1", self._plainest).replace("*", "%").replace("?", "_")

    @cached_property
    def _plainest(self) -> str:
        return re.sub(r"\*+", "*", self.text)

    def matches(self, value: str) -> bool:
        """Tell whether a text of ours matches."""
        return self._expression.fullmatch(value) is not None

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        parts = ({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in self._plainest)
        return re.compile("".join(parts), re.DOTALL)
