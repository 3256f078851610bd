"""The viewer is installed whole or not at all, from the pinned package alone, and moved below its prefix."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.viewer_package import FILES, HASHED, package, packed, release_of, shelf_with
from web.viewer import FolderUnusable, PackageUnfit, Shelf, pinned_release
from web.viewer.package import files_of


def _install(root: Path, content: bytes, of: bytes | None = None) -> Shelf:
    shelf = Shelf(root, release_of(content if of is None else of))
    shelf.install(io.BytesIO(content))
    return shelf


def _nothing_is_left(root: Path) -> bool:
    return {path.name for path in root.iterdir()} <= {".lock"}


def test_what_is_installed_is_edited_pruned_and_whole(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    content = package()
    shelf = Shelf(tmp_path, release_of(content))
    assert shelf.installed() is None
    made = shelf.install(io.BytesIO(content), on_progress=lambda done, of: told.append((done, of)))
    assert set(made.pages) == {
        "index.html",
        HASHED,
        "app.bundle.css",
        "0123456789abcdef.wasm",
        "manifest.json",
        "assets/manifest.webapp",
    }
    first = made.path("index.html").read_text()
    assert 'PUBLIC_URL="/ohif/"' in first
    assert "service-worker" not in first
    assert re.findall(r'(?:href|src)="/(?!ohif/)', first) == []
    assert made.path(HASHED).read_text().count('.p = "/ohif/"') == 8
    assert made.path("app.bundle.css").read_text() == "url(/ohif/a.woff2)" * 5
    assert (made.folder / "LICENSE").read_text() == "MIT"
    assert {name for name, page in made.pages.items() if page.for_ever} == {HASHED, "0123456789abcdef.wasm"}
    assert made.pages[HASHED].squeezed
    assert made.damaged() == []
    assert told[-1] == (len(FILES), len(FILES))


def test_installing_twice_does_nothing(tmp_path: Path) -> None:
    shelf = shelf_with(tmp_path)
    assert shelf.install(io.BytesIO(b"not even looked at")) is shelf.installed()


def test_a_file_with_another_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageUnfit, match=r"^the file is not @ohif/app@\d+\.\d+\.\d+: its sha512 differs"):
        _install(tmp_path, package({"package/dist/new.js": b""}), of=package())
    assert _nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    "changed",
    [
        {"package/dist/index.html": FILES["package/dist/index.html"] + b'<img src="/one-more.png">'},
        {f"package/dist/{HASHED}": b'__webpack_require__.p = "/";' * 7},
        {"package/dist/app.bundle.css": b""},
    ],
    ids=["more", "fewer", "none"],
)
def test_another_number_of_edits_is_refused(tmp_path: Path, changed: dict[str, bytes]) -> None:
    with pytest.raises(PackageUnfit, match="built in another way"):
        _install(tmp_path, package(changed))
    assert _nothing_is_left(tmp_path)


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "member",
    [
        _member("package/../../escaped"),
        _member("/package/dist/absolute"),
        _member("elsewhere/dist/x.js"),
        _member("package"),
        _member("package/dist//x.js"),
        _member("package/dist/a\\b.js"),
        _member("package/dist/a\nb.js"),
        _member("package/dist/link.js", tarfile.SYMTYPE, "/etc/passwd"),
        _member("package/dist/hard.js", tarfile.LNKTYPE, "package/LICENSE"),
        _member("package/dist/pipe", tarfile.FIFOTYPE),
        _member("package/dist/index.html"),
    ],
    ids=lambda member: repr(member.name),
)
def test_links_devices_doubles_and_names_that_lead_elsewhere_are_refused(
    tmp_path: Path, member: tarfile.TarInfo
) -> None:
    usual = [(tarfile.TarInfo(name), content) for name, content in FILES.items()]
    with pytest.raises(PackageUnfit):
        _install(tmp_path / "root", packed([*usual, (member, b"")]))
    assert _nothing_is_left(tmp_path / "root")
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


@pytest.mark.parametrize("content", [b"", b"no archive", package()[:-40]], ids=["empty", "other", "cut"])
def test_what_cannot_be_unpacked_is_refused(content: bytes) -> None:
    with pytest.raises(PackageUnfit, match="cannot be unpacked"):
        list(files_of(io.BytesIO(content)))


def test_a_half_made_folder_is_neither_served_nor_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".making/site").mkdir(parents=True)
    (tmp_path / ".making/site/index.html").write_text("half")
    content = package()
    shelf = Shelf(tmp_path, release_of(content))
    assert shelf.installed() is None
    assert shelf.install(io.BytesIO(content)).damaged() == []
    assert not (tmp_path / ".making").exists()


def test_another_release_beside_it_is_told_and_never_served(tmp_path: Path) -> None:
    old = shelf_with(tmp_path, package({"package/dist/old.js": b""})).installed()
    content = package()
    shelf = Shelf(tmp_path, release_of(content))
    assert old is not None
    assert (shelf.installed(), shelf.others()) == (None, [old.folder])


@pytest.mark.parametrize("name", [f"site/{HASHED}", f"site/{HASHED}.gz", "pages.json"])
def test_a_damaged_viewer_is_made_anew(tmp_path: Path, name: str) -> None:
    content = package()
    found = shelf_with(tmp_path, content).installed()
    assert found is not None
    (found.folder / name).write_bytes(b"{")
    again = Shelf(tmp_path, release_of(content))
    assert again.install(io.BytesIO(content)).damaged() == []
    assert not list(tmp_path.glob(".[bm]*"))


def test_a_viewer_that_is_deleted_is_noticed(tmp_path: Path) -> None:
    shelf = shelf_with(tmp_path)
    found = shelf.installed()
    assert found is not None
    shutil.rmtree(found.folder)
    assert shelf.installed() is None


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FolderUnusable, match="cannot be written"):
        _install(tmp_path / "file", package())


def test_the_folder_is_named_for_what_is_made_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    before = pinned_release().folder_name
    monkeypatch.setattr("web.viewer.release.PRUNED", ())
    assert pinned_release().folder_name != before
