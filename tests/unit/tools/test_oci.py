"""Images of the services: the same content gives the same bytes, and only run-time files are included."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from playbooks.host_programs import pause_image
from tools.oci import dependencies, layout, relabel
from workstation import oci

STATUS = """\
Package: python3
Status: install ok installed
Depends: python3.11 (>= 3.11.2), libpython3-stdlib:any (= 3.11)

Package: python3.11
Status: install ok installed
Pre-Depends: libc6 (>= 2.36)
Depends: zlib1g | libz, media-types, libexpat1

Package: libpython3-stdlib
Status: install ok installed

Package: libc6
Status: install ok installed
Recommends: libidn2-0

Package: libz-ng
Status: install ok installed
Provides: libz (= 1)

Package: libexpat1
Status: deinstall ok config-files

Package: media-types
Status: install ok installed

Package: bash
Status: install ok installed
"""


def tree(folder: Path, *, at: int) -> Path:
    """Create a small system whose files have this modification time."""
    for name, text in (("usr/bin/python3", "#!"), ("opt/govcloud/approval/main.py", "pass"), ("etc/passwd", "root")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (at, at))
    (folder / "usr/bin/python3").chmod(0o755)
    (folder / "usr/bin/python").symlink_to("python3")
    (folder / "usr/bin/python3.11").hardlink_to(folder / "usr/bin/python3")
    return folder


def built(folder: Path, source: Path) -> str:
    """Return the digest of the image of a tree, in two layers."""
    folder.mkdir()
    layers = [
        layout.layer(folder, source, lambda path: not path.startswith("opt/")),
        layout.layer(folder, source, lambda path: path.startswith("opt/")),
    ]
    return layout.finish(folder, layers, {"User": "65532:65532"})


def test_the_same_content_gives_the_same_digest_whenever_it_was_written(tmp_path: Path) -> None:
    one = built(tmp_path / "one", tree(tmp_path / "a", at=1_000_000_000))
    other = built(tmp_path / "other", tree(tmp_path / "b", at=1_700_000_000))
    assert one == other
    (tmp_path / "b/etc/passwd").write_text("toor")
    assert built(tmp_path / "third", tmp_path / "b") != one


def test_a_layer_contains_its_files_without_times_and_owners(tmp_path: Path) -> None:
    image = tmp_path / "image"
    built(image, tree(tmp_path / "tree", at=1_700_000_000))
    _, manifest = oci.manifest_of(image)
    assert manifest["mediaType"] == oci.MANIFEST
    packed = oci.blob_path(image, manifest["layers"][0]["digest"]).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as tar:
        entries = {entry.name: entry for entry in tar}
        assert tar.extractfile("usr/bin/python3.11").read() == b"#!"  # type: ignore[union-attr]
    assert list(entries) == sorted(entries)
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries.values()} == {(0, 0, 0)}
    assert (entries["usr/bin/python"].linkname, entries["usr/bin/python3"].mode) == ("python3", 0o755)
    assert not [name for name in entries if name.startswith("opt/govcloud/")]


def test_the_image_has_only_pythons_run_time_packages(tmp_path: Path) -> None:
    """No shell, no package manager. Alternatives and provided names are followed, removed packages are not."""
    found = dependencies.closure(dependencies.packages(STATUS))
    assert found == ("libc6", "libpython3-stdlib", "libz-ng", "python3", "python3.11")


@pytest.mark.parametrize(
    ("listed", "real"),
    [
        ("/lib/x86_64-linux-gnu/libc.so.6", "usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("/usr/bin/python3", "usr/bin/python3"),
    ],
)
def test_a_file_is_copied_from_its_real_path(listed: str, real: str) -> None:
    assert str(dependencies.merged(listed)) == real


def test_installation_tools_stay_out_of_an_environment() -> None:
    for name in ("lib/python3.11/site-packages/pip", "bin/activate", "lib/python3.11/site-packages/a/__pycache__"):
        assert dependencies.NOT_IN_AN_ENVIRONMENT.search(name), name
    for name in (
        "bin/python3",
        "lib/python3.11/site-packages/approval/web.py",
        "lib/python3.11/site-packages/pipes.py",
    ):
        assert not dependencies.NOT_IN_AN_ENVIRONMENT.search(name), name


def test_the_pause_image_is_one_program_and_always_the_same() -> None:
    one = pause_image.image("localhost/pause:1", b"program", "x86_64")
    assert one == pause_image.image("localhost/pause:1", b"program", "x86_64")
    with tarfile.open(fileobj=io.BytesIO(one)) as tar:
        index = json.loads(tar.extractfile("index.json").read())  # type: ignore[union-attr]
        blobs = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    entry = index["manifests"][0]
    assert entry["annotations"] == {"io.containerd.image.name": "localhost/pause:1"}
    manifest = json.loads(blobs["blobs/" + entry["digest"].replace(":", "/")])
    config = json.loads(blobs["blobs/" + manifest["config"]["digest"].replace(":", "/")])
    assert config["config"] == {"Entrypoint": ["/pause", "-P"], "User": "65535:65535"}
    layer = blobs["blobs/" + manifest["layers"][0]["digest"].replace(":", "/")]
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert [(member.name, member.mode) for member in tar] == [("pause", 0o755)]


def test_a_relabelled_image_is_another_version_of_the_same_content(tmp_path: Path) -> None:
    """Each label gives another digest. The image is complete and has the original's layers."""
    digest = built(tmp_path / "one", tree(tmp_path / "a", at=1_000_000_000))
    original = oci.OciImage(name="approval", folder=tmp_path / "one", digest=digest)
    made = [relabel.relabelled(original, tmp_path / text, text) for text in ("first", "second")]
    assert len({digest, *(one.digest for one in made)}) == 3
    before = oci.manifest_of(original.folder)[1]
    for one in made:
        found, manifest = oci.manifest_of(one.folder)
        assert found == one.digest
        assert manifest["layers"] == before["layers"]
        for blob in (manifest["config"], *manifest["layers"]):
            raw = oci.blob_path(one.folder, blob["digest"]).read_bytes()
            assert f"sha256:{hashlib.sha256(raw).hexdigest()}" == blob["digest"]
        config = json.loads(oci.blob_path(one.folder, manifest["config"]["digest"]).read_bytes())
        assert config["config"] == {"User": "65532:65532", "Labels": {relabel.LABEL: one.folder.name}}
    assert oci.manifest_of(original.folder) == (digest, before)
