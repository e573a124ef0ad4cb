"""Only changes are rendered again, with the same result as a full rendering."""

import gzip
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.exposition import Format, Renderer, Snapshot
from exporter.exposition.renderer import BLOCK
from exporter.exposition.snapshot import Deflated, Piece
from exporter.ledger.build_labels import BuildLabels
from exporter.metrics import JOB_FAMILIES, FleetView, JobView, job_families
from exporter.model import Result
from tests.exposition.views import EXAMPLES, bins, busy, full, job_views, views
from tests.ledger.examples import counted
from tests.support.oracle import rendered

LIVE = b"codearts_build_up 1.0\n"

FLEET = FleetView(tuple(map(busy, range(3 * BLOCK + 7))))


def plain(snapshot: Snapshot, live: bytes = b"") -> bytes:
    return b"".join(snapshot.identity(live))


def one_member(snapshot: Snapshot, live: bytes = b"") -> bytes:
    """Decompress the first gzip member; there must be nothing after it."""
    data = b"".join(snapshot.gzip(live))
    reader = zlib.decompressobj(wbits=31)
    text = reader.decompress(data) + reader.flush()
    assert (reader.eof, reader.unused_data) == (True, b"")
    assert gzip.decompress(data) == text
    return text


@pytest.mark.parametrize("fmt", Format)
@pytest.mark.parametrize("live", [b"", LIVE, LIVE * 100_000], ids=len)
def test_gzip_is_one_member_that_holds_the_same_text(fmt: Format, live: bytes) -> None:
    for view in (FleetView(), full(), FLEET):
        snapshot = Renderer(JOB_FAMILIES, fmt).render(view, compress=True)
        assert (
            one_member(snapshot, live)
            == plain(snapshot, live)
            == rendered(view, fmt)[: -6 if fmt is Format.OPENMETRICS else None] + live
        )


def test_a_snapshot_that_was_not_compressed_says_so() -> None:
    snapshot = Renderer(JOB_FAMILIES, Format.TEXT).render(full(), compress=False)
    assert (snapshot.is_compressed, snapshot.gzip_size) == (False, 0)
    with pytest.raises(ValueError, match="without compression"):
        snapshot.gzip(b"")


@given(st.lists(st.binary(max_size=300), max_size=20), st.binary(max_size=300))
def test_any_pieces_join_to_one_member(texts: list[bytes], live: bytes) -> None:
    snapshot = Snapshot(tuple(Piece.of((text,), 0, compress=True) for text in texts), compressed=True)
    assert one_member(snapshot, live) == b"".join(texts) + live
    assert snapshot.size == sum(map(len, texts))


def test_an_empty_snapshot_is_compressed_if_requested() -> None:
    for compress in (True, False):
        assert (
            Renderer(JOB_FAMILIES, Format.TEXT).render(FleetView(), compress=compress).is_compressed
            is compress
        )


def test_a_renamed_job_is_rendered_again() -> None:
    renderer = Renderer(JOB_FAMILIES, Format.TEXT)
    renderer.render(FLEET, compress=True)
    job = FLEET.jobs[7]
    view = changed(FLEET, 7, replace(job, job=replace(job.job, name="renamed", project="moved")))
    assert one_member(renderer.render(view, compress=True)) == rendered(view)


def test_checksums_combine_over_any_length() -> None:
    first, second = Deflated.of(b"a" * 5_000_000), Deflated.of(b"b" * 3)
    assert first.then(second).checksum == zlib.crc32(b"a" * 5_000_000 + b"b" * 3)


def test_series_are_counted_as_lines_without_comments() -> None:
    for fmt in (Format.TEXT, Format.OPENMETRICS):
        snapshot = Renderer(JOB_FAMILIES, fmt).render(full(), compress=True)
        lines = plain(snapshot).splitlines()
        assert snapshot.series == sum(not line.startswith(b"#") for line in lines) > 0
        assert snapshot.size == len(plain(snapshot))


@settings(max_examples=EXAMPLES)
@given(st.data(), st.sampled_from(Format), st.lists(views(job_views()), min_size=1, max_size=4))
def test_a_used_renderer_gives_the_same_as_a_new_one(
    data: st.DataObject, fmt: Format, changes: list[FleetView]
) -> None:
    renderer, end = Renderer(JOB_FAMILIES, fmt), b"# EOF\n" if fmt is Format.OPENMETRICS else b""
    view = changes[0]
    for after in changes:
        kept = data.draw(st.permutations(view.jobs))[: data.draw(st.integers(0, 3))]
        taken = {(job.job.project, job.job.name) for job in after.jobs} | {job.job.id for job in after.jobs}
        stay = [job for job in kept if not taken & {job.job.id, (job.job.project, job.job.name)}]
        view = replace(after, jobs=(*after.jobs, *stay))
        compress = data.draw(st.booleans())
        snapshot, new = renderer.render(view, compress=compress), rendered(view, fmt)
        assert plain(snapshot, end) == new
        assert not compress or one_member(snapshot, end) == new


@given(st.none() | bins)
def test_the_recycle_bin_is_rendered_each_time(recycle_bin: object) -> None:
    renderer = Renderer(JOB_FAMILIES, Format.TEXT)
    renderer.render(full(), compress=True)
    view = replace(full(), recycle_bin=recycle_bin)  # type: ignore[arg-type]
    assert one_member(renderer.render(view, compress=True)) == rendered(view)


def changed(view: FleetView, index: int, job: JobView) -> FleetView:
    return replace(view, jobs=(*view.jobs[:index], job, *view.jobs[index + 1 :]))


def pieces(renderer: Renderer) -> dict[tuple[int, int], int]:
    """The id of the piece object of each block and family."""
    return {
        (block, family): id(piece)
        for block, kept in enumerate(renderer._jobs._blocks[True])
        for family, piece in enumerate(kept.pieces)
    }


@pytest.mark.parametrize("fmt", Format)
def test_a_build_of_one_job_renders_only_the_pieces_it_is_in(fmt: Format) -> None:
    renderer, end = Renderer(JOB_FAMILIES, fmt), b"# EOF\n" if fmt is Format.OPENMETRICS else b""
    renderer.render(FLEET, compress=True)
    before, index = pieces(renderer), BLOCK + 3
    job = FLEET.jobs[index]
    assert job.ledger is not None
    view = changed(FLEET, index, replace(job, ledger=counted(job.ledger, 4)))
    assert one_member(renderer.render(view, compress=True)) + end == rendered(view, fmt)
    touched = {key for key, piece in pieces(renderer).items() if before[key] != piece}
    names = {JOB_FAMILIES[family].name for _, family in touched}
    assert {block for block, _ in touched} == {1}
    assert {"codearts_build_builds_total", "codearts_build_duration_seconds"} <= names
    assert not names & {"codearts_build_recovery_duration_seconds", "codearts_build_job_info"}


def test_a_poll_without_news_renders_only_the_poll_time() -> None:
    renderer = Renderer(JOB_FAMILIES, Format.TEXT)
    renderer.render(FLEET, compress=True)
    before = pieces(renderer)
    later = [replace(job, checked_ms=10**9, ledger=job.ledger and replace(job.ledger)) for job in FLEET.jobs]
    renderer.render(replace(FLEET, jobs=tuple(later)), compress=True)
    touched = {
        JOB_FAMILIES[family].name
        for (block, family), piece in pieces(renderer).items()
        if before[block, family] != piece
    }
    assert touched == {"codearts_build_job_last_poll_timestamp_seconds"}


def test_holding_and_releasing_labels_is_rendered() -> None:
    renderer = Renderer(JOB_FAMILIES, Format.OPENMETRICS)
    renderer.render(FLEET, compress=True)
    job, failure = FLEET.jobs[7], BuildLabels(Result.FAILURE)
    assert job.ledger is not None
    for held in (
        frozenset({failure}),
        frozenset({failure, BuildLabels(Result.SUCCESS)}),
        frozenset[BuildLabels](),
    ):
        for ledger in (job.ledger, counted(job.ledger, 4), replace(job.ledger)):
            view = changed(FLEET, 7, replace(job, ledger=ledger, held=held))
            assert one_member(renderer.render(view, compress=True)) + b"# EOF\n" == rendered(
                view, Format.OPENMETRICS
            )


def test_without_changes_every_piece_is_kept() -> None:
    renderer = Renderer(job_families(("trigger",)), Format.TEXT)
    renderer.render(FLEET, compress=True)
    before = pieces(renderer)
    renderer.render(replace(FLEET), compress=True)
    assert pieces(renderer) == before


def test_jobs_that_come_and_go_leave_nothing_behind() -> None:
    renderer = Renderer(JOB_FAMILIES, Format.TEXT)
    for jobs in (FLEET.jobs, FLEET.jobs[::2], (), FLEET.jobs[5:9]):
        view = replace(FLEET, jobs=jobs)
        assert one_member(renderer.render(view, compress=True)) == rendered(view)
    assert len(renderer._jobs._rendered) == 4
