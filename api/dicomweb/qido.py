"""QIDO-RS: search for studies, series and instances (PS3.18 10.6)."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request, Response
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from api.crossorigin import ROOT
from api.dicomweb import media
from api.dicomweb.answer_tables import INSTANCE, SERIES, STUDY, Answer
from api.dicomweb.described import answers
from api.dicomweb.forms import FORMS, give_answers
from api.dicomweb.parameters import search_parameters
from api.errors import ParameterRejected, SearchTooBroad
from api.lane import Lane
from api.uids import SeriesPath, StudyPath
from storage import search
from storage.search import Level, Match

if TYPE_CHECKING:
    from api.context import ApiContext
    from storage.database import Database, Transaction
    from storage.records import SeriesUid, StudyUid

router = APIRouter(prefix=ROOT, tags=["dicomweb"], default_response_class=Response)

_METHODS: Final = ["GET", "HEAD"]
_ANSWERS: Final = answers(*FORMS, problems=(406,), also={204: "No match"})
MAX_RESULTS: Final = 1000
MAX_OFFSET: Final = 100_000
MAX_KEYS: Final = 64
MAX_FIELDS: Final = 256
_UNSIGNED: Final = re.compile(r"\d{1,15}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_FUZZY: Final = "fuzzymatching"
_SWITCHES: Final = {
    _FUZZY: "Only literal matching has been performed.",
    "emptyvaluematching": "Empty Value Matching has not been performed.",
    "multiplevaluematching": "Multiple Value Matching has not been performed.",
}
"""Kinds of matching that can be asked for, and what is said where one is not done: the standard's words (PS3.18
8.3.4.2, .5, .6)."""
_ORDER: Final = "orderby"
_CHARSET: Final = "charset"
_OURS: Final = re.compile(r"\s*(utf-?8|\*)\s*(;.*)?", re.IGNORECASE)
_RESERVED: Final = frozenset({"limit", "offset", "includefield", "accept", _CHARSET, *_SWITCHES})


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A search as the URL asked for it, and what of it is not supported."""

    matches: tuple[Match, ...]
    limit: int
    offset: int
    named: frozenset[str] = frozenset()
    """What the path names."""
    included: frozenset[str] = frozenset()
    """What ``includefield`` names, ``all`` among it."""
    warnings: tuple[str, ...] = ()
    by_name: bool = False
    """Studies as a list of patients, not the newest first."""


# ------------------------------------------------------------------------------------------------------ routes
@router.api_route(
    "/studies", methods=_METHODS, responses=_ANSWERS, openapi_extra=search_parameters(Level.STUDY, "/studies")
)
async def search_studies(request: Request) -> Response:
    """Search for studies."""
    return await _search(request, Level.STUDY, {})


@router.api_route(
    "/series", methods=_METHODS, responses=_ANSWERS, openapi_extra=search_parameters(Level.SERIES, "/series")
)
async def search_all_series(request: Request) -> Response:
    """Search for series of all studies."""
    return await _search(request, Level.SERIES, {})


@router.api_route(
    "/studies/{study}/series",
    methods=_METHODS,
    responses=_ANSWERS,
    openapi_extra=search_parameters(Level.SERIES, "/studies/{study}/series"),
)
async def search_series(request: Request, study: StudyPath) -> Response:
    """Search for series of one study."""
    return await _search(request, Level.SERIES, {"StudyInstanceUID": study})


@router.api_route(
    "/instances", methods=_METHODS, responses=_ANSWERS, openapi_extra=search_parameters(Level.INSTANCE, "/instances")
)
async def search_all_instances(request: Request) -> Response:
    """Search for instances of all studies."""
    return await _search(request, Level.INSTANCE, {})


@router.api_route(
    "/studies/{study}/instances",
    methods=_METHODS,
    responses=_ANSWERS,
    openapi_extra=search_parameters(Level.INSTANCE, "/studies/{study}/instances"),
)
async def search_study_instances(request: Request, study: StudyPath) -> Response:
    """Search for instances of one study."""
    return await _search(request, Level.INSTANCE, {"StudyInstanceUID": study})


@router.api_route(
    "/studies/{study}/series/{series}/instances",
    methods=_METHODS,
    responses=_ANSWERS,
    openapi_extra=search_parameters(Level.INSTANCE, "/studies/{study}/series/{series}/instances"),
)
async def search_instances(request: Request, study: StudyPath, series: SeriesPath) -> Response:
    """Search for instances of one series."""
    return await _search(request, Level.INSTANCE, {"StudyInstanceUID": study, "SeriesInstanceUID": series})


async def _search(request: Request, level: Level, path: Mapping[str, str]) -> Response:
    lane: Lane = request.app.state.searches
    context: ApiContext = request.app.state.context  # as a dependency, it would take a twentieth of a quick search
    return await lane.run(partial(_found, context, request, level, path))


def lane_for(database: Database) -> Lane:
    """Return the lane of searches: SQLite works in our own threads, PostgreSQL while we wait for it."""
    return Lane(1 if database.is_sqlite else 2)


def _found(context: ApiContext, request: Request, level: Level, path: Mapping[str, str]) -> Response:
    offer = media.choose(request, FORMS).offer
    items = request.query_params.multi_items()
    by_name = _is_by_name(items, level)
    asked = [(name, value) for name, value in items if name != _ORDER]
    query = replace(read_query(asked, search.supported(level), path, fuzzy=True), by_name=by_name)
    with context.archive.database.read() as tx:
        _check_reach(tx, query, level)
        found = _SEARCHES[level](tx, query, context.dicomweb_url)
        query = _with_rest(tx, query, len(found), level)
    is_told = found or context.qido_empty == HTTPStatus.OK
    response = give_answers(request, offer, found) if is_told else Response(status_code=HTTPStatus.NO_CONTENT)
    for warning in query.warnings:
        response.headers.append("Warning", f"299 {context.dicomweb_url}: {warning}")
    return response


def _check_reach(tx: Transaction, query: Query, level: Level) -> None:
    """Refuse a page that lies farther in than pages are given, where there is one (PS3.18 10.6.3.1: too broad)."""
    if query.offset > MAX_OFFSET and search.count(tx, query.matches, level, most=MAX_OFFSET + 1) > MAX_OFFSET:
        raise SearchTooBroad(f"pages begin at {MAX_OFFSET} matches at most; narrow the search, by StudyDate say")


def _with_rest(tx: Transaction, query: Query, found: int, level: Level) -> Query:
    """Say how many more matches than our own maximum can be requested; what lies beyond any page is not counted."""
    if found < MAX_RESULTS or query.limit < MAX_RESULTS:
        return query
    within_reach = MAX_OFFSET + MAX_RESULTS
    rest = search.count(tx, query.matches, level, most=within_reach) - query.offset - found
    cut = (f"There are {rest} additional results that can be requested",) if rest > 0 else ()
    return replace(query, warnings=query.warnings + cut)


# ------------------------------------------------------------------------------------------------------ the query
def read_query(
    items: Sequence[tuple[str, str]],
    supported: Container[str],
    path: Mapping[str, str],
    *,
    most: int | None = None,
    fuzzy: bool = False,
) -> Query:
    """Return what a query string asks for, within what the path names already, and `most` answers.

    `fuzzy` tells whether names can be found by their words too.

    Raises
    ------
    ParameterRejected
        A key is unknown or given twice, a value holds control characters, or ``limit`` or ``offset`` is not an
        unsigned integer.
    """
    _check(items)
    values = dict(path)
    switched = {name for name, value in items if name in _SWITCHES and value.lower() == "true"}
    warnings = [_literal(name) for name in _SWITCHES if name in switched and not (fuzzy and name == _FUZZY)]
    if not all(_takes_ours(value) for name, value in items if name == _CHARSET):
        warnings.append("The charset parameter is not supported. The answer is in UTF-8.")
    for name, value in items:
        if name in _RESERVED:
            continue
        keyword = _keyword(name)
        if keyword not in supported:
            warnings.append(f"The attribute {keyword} is not supported for matching here and has been ignored.")
        elif keyword in values:
            raise ParameterRejected(f"{keyword} is given twice")
        elif "\0" in value:
            raise ParameterRejected(f"the value of {keyword} holds a NUL")
        else:
            values[keyword] = (
                value.replace(",", "\\") if dictionary_VR(_tag(keyword.rpartition(".")[2])) == "UI" else value
            )
    fields = [field for name, value in items if name == "includefield" for field in value.split(",")]
    if len(fields) > MAX_FIELDS:
        raise ParameterRejected(f"more than {MAX_FIELDS} attributes to include")
    named = [field.strip() for field in fields if field.strip()]
    included = [field if field == "all" else _keyword(field) for field in named]  # a name of no attribute is a mistake
    most = MAX_RESULTS if most is None else most
    limit = _unsigned(items, "limit", most)
    loosely = fuzzy and _FUZZY in switched
    return Query(
        matches=tuple(Match(keyword=keyword, value=value, fuzzy=loosely) for keyword, value in values.items()),
        limit=min(limit, most),
        offset=_unsigned(items, "offset", 0),
        named=frozenset(path),
        included=frozenset(included),
        warnings=tuple(warnings),
    )


def _check(items: Sequence[tuple[str, str]]) -> None:
    if len(items) > MAX_KEYS:
        raise ParameterRejected(f"more than {MAX_KEYS} query parameters")
    if any(_CONTROL.search(value) for _, value in items):
        raise ParameterRejected("a query parameter holds control characters")
    if any(name in _SWITCHES and value.lower() not in {"true", "false"} for name, value in items):
        raise ParameterRejected(f"{', '.join(_SWITCHES)} are true or false")


def _is_by_name(items: Sequence[tuple[str, str]], level: Level) -> bool:
    """Read ``orderby``, an extension: studies by patient name; anything else is refused rather than not done."""
    given = [value for name, value in items if name == _ORDER]
    if given and (given != ["PatientName"] or level is not Level.STUDY):
        raise ParameterRejected("orderby takes PatientName, once, for studies")
    return bool(given)


def _literal(name: str) -> str:
    return f"The {name} parameter is not supported. {_SWITCHES[name]}"


def _takes_ours(charsets: str) -> bool:
    """Tell whether UTF-8 is among the character sets of a list (PS3.18 8.3.3.2)."""
    return any(_OURS.fullmatch(charset) for charset in charsets.split(","))


def _unsigned(items: Sequence[tuple[str, str]], name: str, default: int) -> int:
    given = [value for key, value in items if key == name]
    if not given:
        return default
    if len(given) > 1 or not _UNSIGNED.fullmatch(given[0]):
        raise ParameterRejected(f"{name} is not one unsigned integer")
    return int(given[0])


def _keyword(name: str) -> str:
    """Return the keyword of an attribute named by keyword, by tag, or by a path through sequences."""
    steps = [_step(step) for step in name.split(".")]
    if len(steps) > 8 or not all(steps):
        shown = f"{name!r} is" if re.fullmatch(r"[A-Za-z0-9.]{1,64}", name) else "a query parameter names"
        raise ParameterRejected(f"{shown} no known attribute")
    return ".".join(steps)


def _step(name: str) -> str:
    if not _TAG.fullmatch(name):
        return name if tag_for_keyword(name) is not None else ""
    private = int(name[3], 16) % 2
    return keyword_for_tag(int(name, 16)) or (name.upper() if private else "")


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise LookupError(keyword)
    return tag


# ------------------------------------------------------------------------------------------------------ the answers
def _studies(tx: Transaction, query: Query, base: str) -> list[Answer]:
    found = search.study_rows(tx, query.matches, limit=query.limit, offset=query.offset, by_name=query.by_name)
    return STUDY.page(found, [f"{base}/studies/{row[0]}" for row in found])


def _series(tx: Transaction, query: Query, base: str) -> list[Answer]:
    found = search.series(tx, query.matches, limit=query.limit, offset=query.offset)
    above = _above(tx, query, {one.study_instance_uid for one in found})
    own = SERIES.page(found, [_url(base, one.study_instance_uid, one.series_instance_uid) for one in found])
    return [_joined(above.get(one.study_instance_uid, ()), answer) for one, answer in zip(found, own, strict=True)]


def _instances(tx: Transaction, query: Query, base: str) -> list[Answer]:
    found = search.instances(tx, query.matches, limit=query.limit, offset=query.offset)
    above = _above(tx, query, {one.study_instance_uid for one in found})
    over = _series_above(tx, query, {one.series_instance_uid for one in found})
    urls = [
        f"{_url(base, one.study_instance_uid, one.series_instance_uid)}/instances/{one.sop_instance_uid}"
        for one in found
    ]
    return [
        _joined(
            above.get(one.study_instance_uid, ()),
            over.get((one.study_instance_uid, one.series_instance_uid), ()),
            answer,
        )
        for one, answer in zip(found, INSTANCE.page(found, urls), strict=True)
    ]


def _joined(*levels: Answer) -> Answer:
    """Return what several levels tell; an attribute of two is that of the lower."""
    told = [attributes for attributes in levels if attributes]
    if len(told) == 1:
        return told[0]
    return sorted({attribute[:_TAG_ENDS]: attribute for attributes in told for attribute in attributes}.values())


_TAG_ENDS: Final = len('"00080005"')


def _above(tx: Transaction, query: Query, uids: set[StudyUid]) -> dict[str, Answer]:
    """Return what answers below a study carry of it, unless the path names the study (PS3.18 10.6.3.3)."""
    if "StudyInstanceUID" in query.named or not uids:
        return {}
    match = Match(keyword="StudyInstanceUID", value="\\".join(sorted(uids)))
    found = search.study_rows(tx, [match], limit=len(uids))
    return {row[0]: answer for row, answer in zip(found, STUDY.page(found), strict=True)}


def _series_above(tx: Transaction, query: Query, uids: set[SeriesUid]) -> dict[tuple[StudyUid, SeriesUid], Answer]:
    """Return what instances carry of their series, unless the path names the series."""
    if "SeriesInstanceUID" in query.named or not uids:
        return {}
    match = Match(keyword="SeriesInstanceUID", value="\\".join(sorted(uids)))
    # The UID of a series is unique within its study only: a few more rows than UIDs may come.
    found = search.series(tx, [match], limit=2 * MAX_RESULTS)
    return {
        (one.study_instance_uid, one.series_instance_uid): answer
        for one, answer in zip(found, SERIES.page(found), strict=True)
    }


_SEARCHES: Final = {Level.STUDY: _studies, Level.SERIES: _series, Level.INSTANCE: _instances}


def _url(base: str, study: str, series: str) -> str:
    return f"{base}/studies/{study}/series/{series}"
