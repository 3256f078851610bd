"""What a site may set, and the one place that reads the environment.

A flag wins over the environment (`ROI_...`), that over the TOML file (`--config`, else `roi.toml` in the data
folder), that over the default.  Any secret may be named by a file: `ROI_S3_SECRET_KEY_FILE=/run/secrets/key`.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from inference.reports import forms
from roi.errors import SettingWrong
from storage.errors import Misconfigured
from storage.records import JobSize
from storage.room import Mark

_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?")
_SECRETS = ("catalogue_password", "s3_access_key", "s3_secret_key")


class Settings(BaseSettings):
    """Every setting, its default and its meaning; the reference page is checked against this class."""

    model_config = SettingsConfigDict(env_prefix="ROI_", extra="forbid", frozen=True)

    data: Path = Field(default=Path("roi-data"), description="Folder for everything that is kept or written locally.")
    catalogue: str = Field(default="", description="Catalogue database; empty: SQLite in the data folder.")
    catalogue_password: SecretStr | None = Field(default=None, description="Password of the PostgreSQL user.")
    objects: str = Field(default="", description="Object store; empty: a directory in the data folder.")
    s3_access_key: SecretStr | None = Field(default=None, description="Access key of the S3 object store.")
    s3_secret_key: SecretStr | None = Field(default=None, description="Secret key of the S3 object store.")
    dispatch: str = Field(default="child:", description="Doorbell of the workers: child:, redis://... or amqp://...")
    dicom_bind: str = Field(default="127.0.0.1", description="Address of the DICOM port.")
    http_bind: str = Field(default="127.0.0.1", description="Address of the HTTP port; loopback only, for now.")
    dicom_port: int = Field(default=11112, ge=0, le=65535, description="DICOM port; 0 takes a free one.")
    http_port: int = Field(default=8080, ge=0, le=65535, description="HTTP port; 0 takes a free one.")
    aet: str = Field(default="ROI", min_length=1, max_length=16, description="Our AE title.")
    public_url: str = Field(default="", description="Base of the URLs in answers; empty: http://bind:port.")
    cors_origins: str = Field(
        default="", description="Other sites whose pages may use DICOMweb here: https://viewer.example, comma between."
    )
    qido_empty: Literal["204", "200"] = Field(
        default="204", description="Answer to a search without a match: 204 (PS3.18), or 200 with an empty list."
    )
    ack: Literal["archive", "landing"] = Field(
        default="archive",
        description="What Success means: durable in the object store (archive), or on the gateway's disk (landing).",
    )
    landing_limit: str = Field(
        default="32GiB", description="What may wait in the landing zone for the object store: 500MiB, 32GiB."
    )
    high_water: str = Field(
        default="auto", description="What stays free where instances arrive: 2%, 500MiB; auto: 2 %, 2 GiB at most."
    )
    gateway_processes: int = Field(
        default=1, ge=1, le=64, description="Gateway processes that share the DICOM port; limits count for each."
    )
    scrub_every: float = Field(default=7.0, ge=0, description="Days between two scrubs; 0: none by itself.")
    scrub_rate: float = Field(default=20.0, gt=0, description="Megabytes per second that such a scrub reads at most.")
    viewer: str = Field(
        default="", description="Folder of the image viewer; empty: share/roi/viewer of the Python environment."
    )
    hidden_days: float = Field(
        default=3650.0, ge=0, description="Days after which what is hidden is removed for good; 0: never by itself."
    )
    workitem_days: float = Field(
        default=30.0, ge=1, description="Days after its end that a workitem without deletion lock is kept."
    )
    reports: str = Field(
        default="sr,ko,sc,seg", description="Objects made of results: sr, ko, sc, seg, comma between; empty: none."
    )
    sizes: str = Field(default="small,large", description="Jobs that a worker takes: small,large or one of them.")
    model_threads: int = Field(default=0, ge=0, description="Threads of a model; 0: half of the cores, at least one.")
    model_memory: str = Field(
        default="auto",
        description="Memory of a model's process: 4GiB; auto: a third of the machine's, at least 2 GiB.",
    )
    run_limit_s: float = Field(
        default=120.0, gt=0, description="Seconds after which a model's run is killed at the latest."
    )
    flag_targets: str = Field(
        default="", description="Seconds from the last image to the flag, by model: head-ct-haemorrhage=15, chest-x=8."
    )
    log: Literal["auto", "json", "console"] = Field(default="auto", description="Log lines: JSON, or for a person.")

    @field_validator("dicom_bind", "http_bind")
    @classmethod
    def _is_address(cls, value: str) -> str:
        ip_address(value)
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        wrong = [part for part in _listed(value) if not _ORIGIN.fullmatch(part)]
        if wrong:
            raise ValueError("expected origins as https://viewer.example:8443, without a path; * is not taken")
        return value

    @field_validator("high_water")
    @classmethod
    def _is_mark(cls, value: str) -> str:
        try:
            Mark.parse(value)
        except Misconfigured as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("aet")
    @classmethod
    def _is_title(cls, value: str) -> str:
        # PS3.5 6.2, VR AE: no backslash, no control characters; leading and trailing spaces do not count.
        if not value.strip() or not value.isascii() or not value.isprintable() or "\\" in value:
            raise ValueError("an AE title is 1 to 16 printable ASCII characters without backslash")
        return value.strip()

    @field_validator("flag_targets")
    @classmethod
    def _are_targets(cls, value: str) -> str:
        _seconds_by_model(value)
        return value

    @field_validator("reports")
    @classmethod
    def _are_forms(cls, value: str) -> str:
        forms.parse(value)
        return value

    @field_validator("sizes")
    @classmethod
    def _are_sizes(cls, value: str) -> str:
        if not _listed(value) or not set(_listed(value)) <= set(JobSize):
            raise ValueError(f"{value}: expected small, large, or small,large")
        return value

    @field_validator("model_memory")
    @classmethod
    def _is_memory(cls, value: str) -> str:
        if value != "auto" and not _size_bytes(value):
            raise ValueError(f"{value}: expected auto, or a size above 0 as 4GiB")
        return value

    @field_validator("landing_limit")
    @classmethod
    def _is_size(cls, value: str) -> str:
        if not _size_bytes(value):
            raise ValueError(f"{value}: expected a size above 0 as 32GiB")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's form
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: flags, environment, secrets named by a file, settings file."""
        return (init_settings, env_settings, _SecretFiles(settings_cls), TomlConfigSettingsSource(settings_cls))

    @property
    def catalogue_url(self) -> str:
        """The catalogue's URL, the default filled in."""
        return self.catalogue or f"sqlite:///{self.data.resolve() / 'catalogue.sqlite'}"

    @property
    def objects_url(self) -> str:
        """The object store's URL, the default filled in."""
        return self.objects or f"dir://{self.data.resolve() / 'store'}"

    @property
    def models_folder(self) -> Path:
        """Where imported models lie."""
        return self.data.resolve() / "models"

    @property
    def viewer_folder(self) -> Path:
        """Where the viewer lies, the default filled in: beside the program that serves it, whatever data it serves."""
        return Path(self.viewer).resolve() if self.viewer else Path(sys.prefix) / "share" / "roi" / "viewer"

    @property
    def landing_limit_bytes(self) -> int:
        """How many bytes may wait in the landing zone."""
        return _size_bytes(self.landing_limit)

    @property
    def sizes_taken(self) -> frozenset[JobSize]:
        """The sizes of jobs that a worker takes."""
        return frozenset(JobSize(size) for size in _listed(self.sizes))

    @property
    def model_memory_bytes(self) -> int:
        """How many bytes a model's process may take; 0 where the machine decides."""
        return 0 if self.model_memory == "auto" else _size_bytes(self.model_memory)

    @property
    def cors_allowed(self) -> frozenset[str]:
        """The origins of `cors_origins`."""
        return frozenset(_listed(self.cors_origins))

    @property
    def flag_targets_s(self) -> dict[str, float]:
        """Seconds from the last image to the flag that the site sets, by the id of a model."""
        return _seconds_by_model(self.flag_targets)

    @property
    def base_url(self) -> str:
        """The base of the URLs in answers, the default filled in, without a trailing slash."""
        host = f"[{self.http_bind}]" if ":" in self.http_bind else self.http_bind
        return (self.public_url or f"http://{host}:{self.http_port}").rstrip("/")

    @property
    def loopback_only(self) -> bool:
        """Whether the DICOM port cannot be reached from another machine."""
        return ip_address(self.dicom_bind).is_loopback

    def as_environment(self) -> dict[str, str]:
        """Return the environment of a child process that shall have these very settings."""
        values = {f"ROI_{name.upper()}": _text(getattr(self, name)) for name in type(self).model_fields}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ROI_")}
        return kept | {name: value for name, value in values.items() if value}


class _SecretFiles(PydanticBaseSettingsSource):
    """Secrets from files: the first line of the file that ``ROI_<NAME>_FILE`` names."""

    def get_field_value(self, field: object, field_name: str) -> tuple[object, str, bool]:  # noqa: ARG002
        named = os.environ.get(f"ROI_{field_name.upper()}_FILE")
        if field_name not in _SECRETS or named is None:
            return None, field_name, False
        try:
            return Path(named).read_text(encoding="utf-8").strip(), field_name, False
        except OSError as error:
            raise SettingWrong(f"ROI_{field_name.upper()}_FILE: {named} cannot be read: {error.strerror}") from error

    def __call__(self) -> dict[str, object]:
        found = {name: self.get_field_value(None, name)[0] for name in _SECRETS}
        return {name: value for name, value in found.items() if value is not None}


def read_settings(*, config: Path | None = None, **flags: object) -> Settings:
    """Return the settings of this process; a flag that is None was not given.

    Raises
    ------
    SettingWrong
        A value cannot be; the message names the setting and what is expected, never a secret.
    """
    given = {name: value for name, value in flags.items() if value is not None}

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=_config_file(config, given))

    try:
        return FromFile(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingWrong("; ".join(_sentence(dict(problem)) for problem in error.errors())) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingWrong(f"the settings file is not TOML: {error}") from None


def _config_file(config: Path | None, flags: dict[str, object]) -> Path | None:
    named = config or (Path(os.environ["ROI_CONFIG"]) if "ROI_CONFIG" in os.environ else None)
    if named is not None:
        if not named.is_file():
            raise SettingWrong(f"the settings file {named} does not exist")
        return named
    usual = Path(str(flags.get("data") or os.environ.get("ROI_DATA") or "roi-data")) / "roi.toml"
    return usual if usual.is_file() else None


def _sentence(problem: dict[str, object]) -> str:
    place = problem["loc"]
    name = str(place[0]) if isinstance(place, tuple) and place else "settings"
    return f"{name} (ROI_{name.upper()}): {str(problem['msg']).removeprefix('Value error, ')}"


def _size_bytes(text: str) -> int:
    """Return a size in bytes, 0 where it is none."""
    try:
        mark = Mark.parse(text)
    except Misconfigured:
        return 0
    return mark.size_bytes or 0 if mark == Mark(size_bytes=mark.size_bytes) else 0


def _seconds_by_model(text: str) -> dict[str, float]:
    targets: dict[str, float] = {}
    for part in _listed(text):
        model, _, seconds = part.partition("=")
        if not model.strip() or not re.fullmatch(r"\s*\d{1,6}(\.\d{1,3})?\s*", seconds) or not float(seconds):
            raise ValueError(f"{part}: expected a model's id and seconds above 0 as head-ct-haemorrhage=15")
        targets[model.strip()] = float(seconds)
    return targets


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return "" if value is None else str(value)
