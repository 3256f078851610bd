"""A day of this archive read again, from the command line: `roi triage replay`."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import date, datetime
from typing import TYPE_CHECKING

import orjson
from rich.console import Console
from rich.table import Table

from api.replay import GROUP_NAMES, told
from inference import targets
from inference.replay import MOST, Replay, Room, day_of, replay
from roi.compose import open_database
from roi.errors import SettingWrong
from storage.archive import utc_now
from storage.catalog import flow

if TYPE_CHECKING:
    from roi.settings import Settings


def replay_day(settings: Settings, day: datetime, *, room: Room | None, shadow: bool, as_json: bool) -> None:
    """Print what each group waited on a day, in three orders."""
    zone = utc_now().astimezone().tzinfo
    since, until = day_of(date(day.year, day.month, day.day), zone or utc_now().tzinfo)  # type: ignore[arg-type]
    with closing(open_database(settings)) as database, database.read() as tx:
        waited, set_here = flow.waited_between(tx, since, until, limit=MOST + 1), targets.current(tx)
    if len(waited) > MOST:
        raise SettingWrong(f"more than {MOST} studies became ready on that day")
    found = replay(waited, since=since, until=until, room=room, shadow=shadow, targets=set_here)
    answer = told(found, shadow=shadow)
    if as_json:
        sys.stdout.write(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    console = Console()
    console.print(f"{found.studies} studies / ca; {found.unread} left out / không tính")
    for text in answer["assumed"]:
        console.print(f"{text['en']}\n{text['vi']}")
    console.print(_table(found))


def _table(found: Replay) -> Table:
    """Lay out who gained and who lost: means with the 95th percentile below; minutes gained by AI, and over arrival."""
    table = Table(
        title="Minutes until reading began / Số phút chờ đọc: mean (p95)",
        caption="gained: by AI (over the order of arrival) / số phút được nhờ AI (so với theo giờ đến)",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("who / ai chờ", no_wrap=True, min_width=17)
    for column in ("n", "listed", "no AI", "arrival", "gained"):
        table.add_column(column, justify="right", no_wrap=True)
    for line in found.lines:
        name = GROUP_NAMES[line.group]
        table.add_row(
            f"{name.en}\n{name.vi}",
            str(line.studies),
            *(f"{wait.mean:.1f}\n({wait.p95:.0f})" for wait in (line.listed, line.without_ai, line.fifo)),
            f"{line.gained_by_ai:+.1f}\n({line.gained_over_fifo:+.1f})",
        )
    return table
