"""What each process loads, holds, and does when another dies."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.acceptance.site import Site, embedded
from tests.acceptance.studies import small_ct, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_MB = 1_000_000
IDLE_LIMIT_MB = 400


def test_torch_is_loaded_by_the_model_process_alone(site: Site, tmp_path: Path) -> None:
    files = write(small_ct(501, slices=20), tmp_path)
    site.send(files)
    site.settled(files[0].study)
    others = {"serve", "extract", "report"}
    loaded = {role: _has(process, "libtorch") for role, process in site.processes().items() if role not in others}
    assert loaded == {"gateway": False, "api": False, "worker": False, "model": True}


def test_only_processes_that_look_at_pixels_load_numpy(site: Site) -> None:
    loaded = {role: _has(process, "/numpy/") for role, process in site.processes().items()}
    assert (loaded["gateway"], loaded["api"]) == (False, False)


def test_idle_set_up_fits_in_four_hundred_megabytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with embedded(tmp_path) as fresh:
        used = {role: process.memory_full_info() for role, process in fresh.processes().items()}
    assert set(used) == {"serve", "gateway", "api", "worker"}
    with capsys.disabled():
        print()
        for role, memory in used.items():
            print(f"idle {role:8} RSS {memory.rss / _MB:6.1f} MB   PSS {memory.pss / _MB:6.1f} MB")
        total_rss, total_pss = (sum(getattr(each, kind) for each in used.values()) / _MB for kind in ("rss", "pss"))
        print(f"idle together  RSS {total_rss:6.1f} MB   PSS {total_pss:6.1f} MB   (limit {IDLE_LIMIT_MB} MB)")
    assert total_rss <= IDLE_LIMIT_MB


@pytest.mark.parametrize("role", ["gateway", "api", "worker"])
def test_role_that_is_killed_is_started_again_and_reported(role: str, tmp_path: Path) -> None:
    with embedded(tmp_path / "site") as own:
        first = own.processes()[role].pid
        assert own.kill(role)
        own.wait(lambda: own.processes().get(role), f"{role} again")
        files = write(small_ct(502), tmp_path / "files")
        own.wait(lambda: _answers(own), "the gateway and the web answer")
        own.send(files)
        assert own.settled(files[0].study)["instance_count"] == 4
        assert own.processes()[role].pid != first
        assert [line["role"] for line in own.log_lines("role-died")] == [role]


def test_roles_end_with_a_supervisor_that_is_killed_and_the_next_goes_on(tmp_path: Path) -> None:
    with embedded(tmp_path / "site") as own:
        files = write(small_ct(503), tmp_path / "files")
        own.send(files)
        orphans = [process for role, process in own.processes().items() if role != "serve"]
        own.servers["serve"].kill()
        _, alive = psutil.wait_procs(orphans, timeout=30)
        assert alive == []
        own.servers["serve"].start()
        assert own.settled(files[0].study)["instance_count"] == 4


def _answers(own: Site) -> bool | None:
    try:
        own.servers["serve"].program.is_ready()
    except Exception:  # noqa: BLE001 - whatever a client may hear of a port nobody listens on yet
        return None
    return True


def _has(process: psutil.Process, part: str) -> bool:
    return part in Path(f"/proc/{process.pid}/maps").read_text()
