"""`roi models`: importing from the command line, and what is shown of a model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models import registry
from roi import compose
from roi.cli import app
from roi.settings import read_settings
from tests.unit.models.importers import layouts
from tests.unit.models.importers.test_conversion import open_jail

torch = pytest.importorskip("torch", reason="running a network needs the extra `ai`")

__all__ = ["open_jail"]  # a fixture


def roi(*arguments: object):
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


@pytest.fixture
def imported(tmp_path: Path, open_jail: None) -> Path:
    """A data folder with an imported model."""
    path = tmp_path / "model.pt"
    torch.save(layouts.trained(channels=1, outputs=18).state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    data = tmp_path / "data"
    done = roi("import", path, "--recipe", "torchxrayvision/rsna", "--sha256", digest, "--data", data)
    assert done.exception is None
    assert "torchxrayvision-rsna is imported: 2 findings" in done.stdout
    assert "Its results move no list." in done.stdout
    return data


def test_an_imported_model_is_listed_and_shown_with_its_origin(imported: Path) -> None:
    assert "torchxrayvision-rsna" in roi("list", "--data", imported).stdout
    card = json.loads(roi("show", "torchxrayvision-rsna", "--json", "--data", imported).stdout)
    assert (card["origin"], card["regulatory_status"]) == ("imported", "research")
    assert [finding["code"] for finding in card["findings"]] == ["pneumonia", "lung-opacity"]
    shown = roi("show", "torchxrayvision-rsna", "--data", imported).stdout.splitlines()
    assert "origin: imported" in shown
    assert f"digest: {card['digest']}" in shown
    (line,) = [line for line in shown if line.startswith("finding: pneumonia")]
    assert "(viêm phổi), urgent, from 0.5 on; sensitivity not measured, specificity not measured" in line


def test_roles_of_this_data_folder_know_it(imported: Path) -> None:
    settings = read_settings(data=imported)
    assert "torchxrayvision-rsna" in {card.id for card in registry.cards(settings.models_folder)}
    with compose.worker(settings) as worker, compose.api_context(settings) as context:
        assert "torchxrayvision-rsna" in worker._cards
        assert worker._lanes[0].model._setup.imported == settings.models_folder
        assert context.card("torchxrayvision-rsna").origin == "imported"


def test_a_report_tells_of_an_imported_model_too(imported: Path) -> None:
    migrated = CliRunner().invoke(app, ["migrate", "--data", str(imported)])
    assert migrated.exception is None
    said = roi("report", "torchxrayvision-rsna", "--data", imported)
    assert said.exception is None
    assert "0 cases, 0 in the base: too few to say" in said.stdout


def test_the_same_name_is_not_imported_twice(imported: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    again = roi("import", path, "--recipe", "torchxrayvision/rsna", "--sha256", digest, "--data", imported)
    assert "choose another --name" in str(again.exception)


def test_nothing_is_imported_without_a_digest(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"")
    done = roi("import", tmp_path / "model.pt", "--recipe", "chexnet", "--data", tmp_path / "data")
    assert done.exit_code == 2
    assert "--sha256" in done.stderr


def test_a_model_without_figures_asks_for_them_before_it_is_simulated(imported: Path) -> None:
    asked = ["triage", "simulate", "torchxrayvision-rsna", "--prevalence", "0.1", "--traffic", "0.5"]
    done = CliRunner().invoke(app, [*asked, "--eligible", "1", "--data", str(imported)])
    assert "say which sensitivity and specificity to expect" in str(done.exception)
