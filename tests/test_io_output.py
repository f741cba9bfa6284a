from __future__ import annotations

import errno
import gzip
import os
import stat
import subprocess
import sys
from pathlib import Path

import pysam
import pytest

from lstmhmm_bio.errors import OutputError, UsageError
from lstmhmm_bio.io import OutputSet, ensure_distinct, open_output


def listing(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_writes_text(tmp_path):
    path = tmp_path / "a.txt"
    with open_output(str(path)) as handle:
        handle.write("é\n")
        handle.flush()
        assert not path.exists()
    assert path.read_bytes() == "é\n".encode()
    assert listing(tmp_path) == ["a.txt"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_exception_keeps_the_old_file(tmp_path, error, name):
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(error), open_output(str(path)) as handle:  # noqa: PT012
        handle.write("new" * 100_000)
        raise error
    assert path.read_text() == "old"
    with pytest.raises(error), open_output(str(tmp_path / "b")) as handle:
        raise error
    assert listing(tmp_path) == [name]


def test_set_is_committed_all_or_none(tmp_path):
    def run(fail: bool) -> None:
        with OutputSet() as outputs:
            handles = [outputs.open(str(tmp_path / name)) for name in ("a", "b.gz")]
            for handle in handles:
                handle.write("x")
            if fail:
                outputs.open(str(tmp_path / "missing" / "c"))

    with pytest.raises(OutputError, match="folder does not exist"):
        run(fail=True)
    assert listing(tmp_path) == []
    run(fail=False)
    assert listing(tmp_path) == ["a", "b.gz"]


def test_gzip_is_bgzip_and_reproducible(tmp_path, monkeypatch):
    text = "".join(f"line {i}\n" for i in range(50_000))
    for path, time in (("a.gz", 1e9), ("b.gz", 2e9)):
        monkeypatch.setattr("time.time", lambda time=time: time)
        with open_output(str(tmp_path / path)) as handle:
            handle.write(text)
    first = (tmp_path / "a.gz").read_bytes()
    assert first == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress(first).decode() == text
    with pysam.BGZFile(str(tmp_path / "a.gz")) as file:
        assert file.read(10**7).decode() == text
    with open_output(str(tmp_path / "empty.gz")):
        pass
    assert gzip.decompress((tmp_path / "empty.gz").read_bytes()) == b""


def test_symbolic_link_and_mode_survive(tmp_path):
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    target.write_text("old")
    target.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(target)
    with open_output(str(link)) as handle:
        handle.write("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert listing(tmp_path / "folder") == ["target"]


def test_device_is_not_replaced():
    with open_output("/dev/null") as handle:
        handle.write("x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("size", [1, 10**6])
@pytest.mark.parametrize("compressed", [False, True])
def test_full_disk(tmp_path, size, compressed):
    path = tmp_path / ("full.gz" if compressed else "full")
    path.symlink_to("/dev/full")
    with (
        pytest.raises(OutputError, match=f"{path} cannot be written: the disk is full"),
        open_output(str(path)) as handle,
    ):
        handle.write("".join(str(hash((i, "x"))) for i in range(size // 10 + 1)))


def test_bad_targets(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    for path, words in [
        ("missing/a", "create it first"),
        (".", "it is a folder"),
        ("new/", "it is a folder"),
        ("file/a", "is a file, not a folder"),
        ("x" * 300, "choose another path"),
    ]:
        shown = f"{tmp_path}/{path}"
        with pytest.raises(OutputError) as caught, open_output(shown):
            pass
        assert str(caught.value).startswith(f"{shown} cannot be written: ")
        assert words in str(caught.value)
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everything
    with pytest.raises(OutputError, match="permission denied"), open_output(str(tmp_path / "file")):
        pass
    assert listing(tmp_path) == ["file"]


def test_failed_rename_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*_: str) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(OutputError, match=r"a cannot be written: the file system is read-only"):  # noqa: SIM117
        with open_output(str(tmp_path / "a")) as handle:
            handle.write("x")
    assert listing(tmp_path) == []


@pytest.mark.parametrize("path", [None, "-"])
def test_standard_output(capsys, path):
    with open_output(path) as handle:
        handle.write("text")
    assert capsys.readouterr().out == "text"
    assert not sys.stdout.closed


def test_broken_pipe_reaches_the_caller():
    code = (
        "import sys\n"
        "from lstmhmm_bio.io import open_output\n"
        "try:\n"
        "    with open_output('-') as handle:\n"
        "        for _ in range(10**6): handle.write('x' * 100)\n"
        "except BrokenPipeError:\n"
        "    sys.stderr.write('broken'); sys.stderr.flush()\n"
        "    import os; os._exit(0)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b"broken"
    process.stderr.close()
    assert process.wait() == 0


def test_ensure_distinct(tmp_path):
    genome = tmp_path / "genome.fa"
    genome.write_text(">a\nA\n")
    (tmp_path / "link.fa").symlink_to(genome)
    inside = f"{tmp_path}/folder/../genome.fa"
    ensure_distinct([str(genome), "-"], [None, str(tmp_path / "a"), "/dev/null", "/dev/null"])
    for path in (str(genome), str(tmp_path / "link.fa"), inside):
        with pytest.raises(UsageError, match="is an input and an output"):
            ensure_distinct([str(genome)], [path])
    for paths in ([str(tmp_path / "a"), f"{tmp_path}/./a"], [None, "-"]):
        with pytest.raises(UsageError, match="given for two outputs"):
            ensure_distinct([], paths)
