"""Weight files from outside: tensors come out, code does not run, and nothing is tried a second, less careful time."""

from __future__ import annotations

import io
import pickle
import stat
import zipfile
from pathlib import Path

import pytest

from models.errors import ImportRefused
from models.importers import archives, tensors
from tests.unit.models.importers import layouts

torch = pytest.importorskip("torch", reason="running a network needs the extra `ai`")


class Payload:
    """What an attacker pickles: unpickled as it is meant, it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def saved(tmp_path, what, name="model.pt", **how):
    path = tmp_path / name
    torch.save(what, path, **how)
    return path


def same(found, state):
    return list(found) == list(state) and all(torch.equal(found[name], state[name]) for name in state)


@pytest.fixture(scope="module")
def state():
    return layouts.trained(channels=1, outputs=18).state_dict()


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "older"])
@pytest.mark.parametrize("wrapped", [None, "state_dict", "model"])
def test_a_state_dict_is_read_however_it_was_saved(tmp_path, state, how, wrapped):
    what = state if wrapped is None else {wrapped: state, "epoch": 7}
    assert same(tensors.read_state(saved(tmp_path, what, **how), unsafe_pickle=False), state)


def test_what_is_written_is_read_again(tmp_path, state):
    tensors.save_state(dict(state), tmp_path / "weights.safetensors")
    read = tensors.read_state(tmp_path / "weights.safetensors", unsafe_pickle=False)
    assert same(dict(sorted(read.items())), dict(sorted(state.items())))


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "older"])
@pytest.mark.filterwarnings("ignore")  # torch tells that classes have no source here
def test_a_whole_pickled_model_gives_its_tensors_on_explicit_wish_alone(tmp_path, state, how):
    network = layouts.DenseNet121(channels=1, outputs=18)
    network.load_state_dict(state)
    path = saved(tmp_path, network, **how)
    with pytest.raises(ImportRefused, match="--unsafe-pickle"):
        tensors.read_state(path, unsafe_pickle=False)
    assert same(tensors.read_state(path, unsafe_pickle=True), state)


@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "older"])
def test_no_code_in_a_pickle_ever_runs(tmp_path, state, unsafe, how):
    """R-60, also with the flag: a name that is not of the closed table is a stand-in, and calling it does nothing."""
    made = tmp_path / "made"
    path = saved(tmp_path, {"state_dict": dict(state), "extra": Payload(made)}, **how)
    if unsafe:
        assert same(tensors.read_state(path, unsafe_pickle=True), state)
    else:
        with pytest.raises(ImportRefused, match="more than tensors"):
            tensors.read_state(path, unsafe_pickle=False)
    assert not made.exists()
    torch.load(path, weights_only=False)["extra"].close()
    assert made.exists(), "the payload is a real one"


@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_bare_pickle_is_no_weight_file(tmp_path, unsafe):
    made = tmp_path / "made"
    (tmp_path / "model.pt").write_bytes(pickle.dumps(Payload(made)))
    with pytest.raises(ImportRefused):
        tensors.read_state(tmp_path / "model.pt", unsafe_pickle=unsafe)
    assert not made.exists()


@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.filterwarnings("ignore")  # torch.jit is old, and says so
def test_a_torchscript_archive_is_a_program_and_is_not_opened(tmp_path, unsafe):
    path = tmp_path / "model.ts"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(ImportRefused, match="TorchScript"):
        tensors.read_state(path, unsafe_pickle=unsafe)


@pytest.mark.parametrize("what", [{}, {"epoch": 3}, [1, 2], {"a": torch.zeros(1), "b": 2}])
def test_a_file_without_a_network_is_refused(tmp_path, what):
    with pytest.raises(ImportRefused, match="no named tensors"):
        tensors.read_state(saved(tmp_path, what), unsafe_pickle=False)


# ------------------------------------------------------------------------------------------------------ archives
def packed(tmp_path, *members, compression=zipfile.ZIP_STORED):
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return path


def refused(archive, said):
    with pytest.raises(ImportRefused, match=said):
        archives.check(archive)


@pytest.mark.parametrize("name", ["../evil.pt", "/etc/cron.d/evil", "a/../../evil", "C:evil", "a\\..\\evil"])
def test_a_member_that_leaves_its_folder_is_refused(tmp_path, name):
    """R-60, zip slip."""
    with (
        zipfile.ZipFile(packed(tmp_path, (name, b"evil"))) as archive,
        pytest.raises(ImportRefused, match="leaves its folder"),
    ):
        archives.check(archive)


def test_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("models/model.pt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with (
        zipfile.ZipFile(packed(tmp_path, (link, b"/etc/passwd"))) as archive,
        pytest.raises(ImportRefused, match="has a link"),
    ):
        archives.check(archive)


def test_a_member_that_grows_out_of_proportion_is_refused(tmp_path):
    with (
        zipfile.ZipFile(packed(tmp_path, ("bomb", bytes(4 << 20)), compression=zipfile.ZIP_DEFLATED)) as archive,
        pytest.raises(ImportRefused, match="grows more than 200 times"),
    ):
        archives.check(archive)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path):
    with (
        zipfile.ZipFile(packed(tmp_path, ("a", b"1"), ("a", b"2"))) as archive,
        pytest.raises(ImportRefused, match="same name"),
    ):
        archives.check(archive)


def test_members_that_are_more_or_larger_than_may_be_are_refused(tmp_path, monkeypatch):
    path = packed(tmp_path, ("a", b"1" * 100), ("b", b"2" * 100))
    for bound, most, said in (("_MEMBERS", 1, "has 2 members"), ("_WHOLE_BYTES", 199, "holds more than")):
        with monkeypatch.context() as patched, zipfile.ZipFile(path) as archive:
            patched.setattr(archives, bound, most)
            with pytest.raises(ImportRefused, match=said):
                archives.check(archive)


def test_no_more_is_taken_out_than_the_archive_says_and_the_reader_allows(tmp_path):
    with zipfile.ZipFile(packed(tmp_path, ("a", b"1" * 100))) as archive:
        archives.take(archive, "a", tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == b"1" * 100
        with pytest.raises(ImportRefused, match="at most 99"):
            archives.take(archive, "a", tmp_path / "a", limit_bytes=99)
        with pytest.raises(ImportRefused, match="has no b"):
            archives.take(archive, "b", tmp_path / "b")


def test_a_weight_file_that_is_a_bad_archive_is_refused_before_torch_sees_it(tmp_path):
    path = saved(tmp_path, {"a": torch.zeros(1)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../evil", b"")
    with pytest.raises(ImportRefused, match="leaves its folder"):
        tensors.read_state(path, unsafe_pickle=False)


def test_a_damaged_weight_file_is_refused(tmp_path):
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(100)}, buffer)
    (tmp_path / "model.pt").write_bytes(buffer.getvalue()[:200])
    with pytest.raises(ImportRefused):
        tensors.read_state(Path(tmp_path / "model.pt"), unsafe_pickle=False)
