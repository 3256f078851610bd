"""The project file against the tree: what is not listed there is missing in an installed Rọi."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
PACKAGES = sorted(
    str(init.parent.relative_to(ROOT)).replace("/", ".")
    for top in {name.partition(".")[0] for name in SETUPTOOLS["packages"]}
    for init in (ROOT / top).rglob("__init__.py")
)


def test_every_package_is_in_the_wheel() -> None:
    assert sorted(SETUPTOOLS["packages"]) == PACKAGES


@pytest.mark.parametrize("package", PACKAGES)
def test_every_data_file_is_in_the_wheel(package: str) -> None:
    folder = ROOT / package.replace(".", "/")
    patterns = SETUPTOOLS["package-data"].get(package, [])
    others = [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"} and _owner(path) == folder
    ]
    assert [name for name in others if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def _owner(path: Path) -> Path:
    """Return the nearest folder that is a package."""
    return next(folder for folder in path.parents if (folder / "__init__.py").exists())
