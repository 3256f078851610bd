"""Flag over environment over file over default; secrets from files; wrong values in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from roi.errors import SettingWrong
from roi.settings import read_settings


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ROI_DATA", "ROI_CONFIG", "ROI_AET", "ROI_DICOM_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_nothing_configured_is_sqlite_and_a_directory_on_loopback(tmp_path: Path) -> None:
    settings = read_settings()
    assert settings.catalogue_url == f"sqlite:///{tmp_path}/roi-data/catalogue.sqlite"
    assert settings.objects_url == f"dir://{tmp_path}/roi-data/store"
    assert (settings.dicom_bind, settings.http_bind, settings.dicom_port, settings.http_port) == (
        "127.0.0.1",
        "127.0.0.1",
        11112,
        8080,
    )
    assert (settings.aet, settings.dispatch, settings.ack, settings.loopback_only) == ("ROI", "child:", "archive", True)


def test_a_flag_wins_over_the_environment_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "roi.toml").write_text('aet = "FILE"\ndicom_port = 1\nhttp_port = 2\n')
    monkeypatch.setenv("ROI_AET", "ENV")
    monkeypatch.setenv("ROI_DICOM_PORT", "3")
    settings = read_settings(data=data, aet="FLAG", http_port=None)
    assert (settings.aet, settings.dicom_port, settings.http_port) == ("FLAG", 3, 2)


def test_a_secret_comes_from_a_file_and_is_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    monkeypatch.setenv("ROI_S3_SECRET_KEY_FILE", str(tmp_path / "key"))
    settings = read_settings()
    assert settings.s3_secret_key is not None
    assert settings.s3_secret_key.get_secret_value() == "s3cret"
    assert "s3cret" not in f"{settings!r} {settings}"


def test_a_role_started_from_these_settings_has_these_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = read_settings(data=tmp_path / "d", aet="OTHER", s3_secret_key="k", dicom_port=4)
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    again = read_settings()
    assert (again.data, again.aet, again.s3_secret_key, again.dicom_port) == (
        tmp_path / "d",
        "OTHER",
        settings.s3_secret_key,
        4,
    )


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"aet": "A" * 17}, "aet"),
        ({"aet": "A\\B"}, "backslash"),
        ({"dicom_port": 70000}, "dicom_port"),
        ({"dicom_bind": "everywhere"}, "dicom_bind"),
        ({"ack": "nowhere"}, "ack"),
        ({"landing_limit": "2%"}, "landing_limit"),
        ({"landing_limit": "0"}, "above 0"),
        ({"sizes": "huge"}, "small,large"),
        ({"sizes": ""}, "small,large"),
        ({"model_memory": "much"}, "4GiB"),
        ({"config": Path("nowhere.toml")}, "nowhere.toml"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_it(flags: dict[str, object], named: str) -> None:
    with pytest.raises(SettingWrong) as caught:
        read_settings(**flags)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "roi.toml").write_text('aett = "TYPO"\n')
    with pytest.raises(SettingWrong, match="aett"):
        read_settings(config=tmp_path / "roi.toml")


def test_targets_of_flags_are_read_by_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROI_FLAG_TARGETS", "head-ct-haemorrhage=15, chest-radiograph=7.5")
    assert read_settings().flag_targets_s == {"head-ct-haemorrhage": 15.0, "chest-radiograph": 7.5}
    for wrong in ("15", "a=0", "a=", "=5", "a=b", "a=-1", "a=inf"):
        monkeypatch.setenv("ROI_FLAG_TARGETS", wrong)
        with pytest.raises(SettingWrong, match="seconds above 0"):
            read_settings()
