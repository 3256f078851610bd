"""How soon each class of study is to be read, from the command line: `roi triage targets`."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import orjson
from rich.console import Console
from rich.table import Table

from inference import targets
from inference.errors import TargetsRefused
from roi.compose import open_database
from roi.errors import SettingWrong
from storage.archive import utc_now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from roi.settings import Settings

_NAMES = {
    "STAT": ("STAT, of an order or a person", "cấp cứu, do chỉ định hoặc người đặt"),
    "URGENT": ("urgent, of an order or a person", "khẩn, do chỉ định hoặc người đặt"),
    "ROUTINE": ("routine", "thường quy"),
    "ai-critical": ("critical finding of a model", "AI: dấu hiệu nguy kịch"),
    "ai-urgent": ("urgent finding of a model", "AI: dấu hiệu khẩn"),
}


def show(settings: Settings, *, as_json: bool) -> None:
    """Print every class's target, and what holds between every two classes."""
    with closing(open_database(settings)) as database, database.read() as tx:
        minutes = targets.minutes_now(tx)
    _print(minutes, as_json=as_json)


def change(settings: Settings, wanted: Sequence[str], *, by: str, as_json: bool) -> None:
    """Set targets, each told as CLASS=MINUTES, and print what holds then."""
    if not by.strip():
        raise SettingWrong("--by says who sets targets; it may not be empty")
    told = dict(map(_read, wanted))
    with closing(open_database(settings)) as database:
        with database.write() as tx:
            targets.change(tx, told, by=by.strip(), now=utc_now())
        with database.read() as tx:
            minutes = targets.minutes_now(tx)
    _print(minutes, as_json=as_json)


def _read(told: str) -> tuple[str, int]:
    name, _, minutes = told.partition("=")
    if not minutes.isdecimal():
        raise TargetsRefused(f"{told} is no target: expected CLASS=MINUTES, such as URGENT=30")
    return name, int(minutes)


def _print(minutes: Mapping[str, int], *, as_json: bool) -> None:
    guarantees = targets.guarantees(minutes)
    if as_json:
        told = {"targets": minutes, "guarantees": [asdict(each) for each in guarantees]}
        sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    console = Console()
    table = Table(title="Targets / Hạn đọc", title_justify="left")
    for column in ("class", "who / ai", "minutes", "default"):
        table.add_column(column, justify="right" if column in {"minutes", "default"} else "left")
    for name, each in minutes.items():
        table.add_row(name, "\n".join(_NAMES[name]), str(each), str(targets.DEFAULTS[name]))
    console.print(table)
    console.print("Guarantees: how much later a study may have become ready and still be read first.")
    console.print("Cam kết: ca đủ ảnh muộn hơn tối đa bao nhiêu phút mà vẫn được đọc trước.")
    bounds = Table()
    bounds.add_column("read first / đọc trước")
    bounds.add_column("waits / chờ")
    bounds.add_column("min / phút", justify="right")
    for bound in guarantees:
        bounds.add_row(bound.ahead, bound.behind, str(bound.minutes))
    console.print(bounds)
    console.print("A person's own STAT goes before everything. / Cấp cứu do người đặt luôn đứng trước mọi ca.")
