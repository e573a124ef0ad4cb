"""Render a view to a snapshot, again only as far as it has changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import is_
from typing import Final

from exporter.exposition.encoder import Encoder
from exporter.exposition.formats import Format
from exporter.exposition.protobuf import ProtobufEncoder
from exporter.exposition.snapshot import Piece, Snapshot
from exporter.metrics import FLEET_FAMILIES, Declared, Family, FleetView, JobView

BLOCK: Final = 64
"""Jobs per piece: more compress better, fewer cost less when one of them changes."""

Fragments = tuple[bytes, ...]
"""The samples of one job by family; empty for a family without samples."""


@dataclass(frozen=True, slots=True)
class _Block:
    """The fragments of neighbouring jobs, and the pieces made of them, by family."""

    fragments: tuple[Fragments, ...]
    pieces: tuple[Piece, ...]


class _Part:
    """Renders the families of jobs, or those of projects, block by block; remembers what it has rendered."""

    def __init__(self, families: Sequence[Family[JobView]], fmt: Format, *, created_series: bool) -> None:
        self._shows_creation = created_series or fmt is Format.PROTOBUF
        self._families = [(family, _encoder(family, fmt)) for family in families]
        self._names_job = any("job_name" in family.labels for family in families)
        self._rendered: dict[str, tuple[JobView, Fragments]] = {}
        self._blocks: dict[bool, list[_Block]] = {True: [], False: []}

    def pieces(self, views: Sequence[JobView], *, compress: bool) -> Iterator[Piece]:
        """Yield the pieces of all families; when a view is removed, the pieces behind it are made again."""
        self._rendered = {view.job.id: self._render_job(view) for view in views}
        fragments = [fragments for _, fragments in self._rendered.values()]
        before = self._blocks[compress]
        blocks = [
            self._block(
                tuple(fragments[start : start + BLOCK]),
                before[index] if index < len(before) else None,
                compress=compress,
            )
            for index, start in enumerate(range(0, len(fragments), BLOCK))
        ]
        self._blocks = {compress: blocks, not compress: []}
        yield from self._joined(blocks, compress=compress)

    def _render_job(self, view: JobView) -> tuple[JobView, Fragments]:
        """Return a job's fragments; unchanged ones are the same objects as before."""
        previous = self._rendered.get(view.job.id)
        if previous is None or previous[0].job != view.job:
            return view, tuple(self._fragment(index, view) for index in range(len(self._families)))
        old_view, before = previous
        if old_view is view:
            return previous
        current = view
        if view.ledger and old_view.ledger and view.ledger.differs_in_time_alone(old_view.ledger):
            current = replace(view, ledger=old_view.ledger)
        after = tuple(
            self._refresh(index, current, old_view, fragment) for index, fragment in enumerate(before)
        )
        return view, before if after == before else after

    def _refresh(self, index: int, view: JobView, old_view: JobView, before: bytes) -> bytes:
        family, _ = self._families[index]
        if family.reads(view) is family.reads(old_view):
            return before
        fragment = self._fragment(index, view)
        return before if fragment == before else fragment

    def _fragment(self, index: int, view: JobView) -> bytes:
        family, encoder = self._families[index]
        since_ms = view.ledger.since_ms if view.ledger and self._shows_creation else None
        names = (view.job.project, view.job.name) if self._names_job else (view.job.project,)
        return encoder.fragment(names, family.samples(view), since_ms)

    def _block(self, fragments: tuple[Fragments, ...], before: _Block | None, *, compress: bool) -> _Block:
        if before and _same(fragments, before.fragments):
            return before
        pieces = []
        for index, (_, encoder) in enumerate(self._families):
            column = tuple(job[index] for job in fragments)
            piece = before.pieces[index] if before else None
            if piece is None or not _same(column, piece.fragments):
                piece = Piece.of(column, sum(map(encoder.series, column)), compress=compress)
            pieces.append(piece)
        return _Block(fragments, tuple(pieces))

    def _joined(self, blocks: Sequence[_Block], *, compress: bool) -> Iterator[Piece]:
        for index, (_, encoder) in enumerate(self._families):
            pieces = [block.pieces[index] for block in blocks if block.pieces[index].size]
            if pieces:
                header = encoder.header(sum(piece.size for piece in pieces))
                yield Piece.of((header,), 0, compress=compress)
                yield from pieces


class Renderer:
    """Renders views in one format, and remembers the parts.

    Args:
        families: of jobs, and of projects if they lack the label ``job_name``.
        fmt: the format.
        created_series: whether OpenMetrics has creation times, as series; protobuf always has them.
    """

    def __init__(
        self, families: Sequence[Family[JobView]], fmt: Format, *, created_series: bool = False
    ) -> None:
        of_jobs = [family for family in families if "job_name" in family.labels]
        of_projects = [family for family in families if "job_name" not in family.labels]
        self._jobs, self._projects = (
            _Part(part, fmt, created_series=created_series) for part in (of_jobs, of_projects)
        )
        self._fleet = [(family, _encoder(family, fmt)) for family in FLEET_FAMILIES]

    def render(self, view: FleetView, *, compress: bool) -> Snapshot:
        """Render a view, with gzip if ``compress``.

        The cost is that of the changes since the last call, and of the join.
        """
        pieces = (
            *self._jobs.pieces(view.jobs, compress=compress),
            *self._projects.pieces(view.totals, compress=compress),
            *self._fleet_pieces(view, compress=compress),
        )
        return Snapshot(pieces, compressed=compress)

    def _fleet_pieces(self, view: FleetView, *, compress: bool) -> Iterator[Piece]:
        for family, encoder in self._fleet:
            if fragment := encoder.fragment((), family.samples(view), None):
                header = encoder.header(len(fragment))
                yield Piece.of((header, fragment), encoder.series(fragment), compress=compress)


def _encoder(declared: Declared, fmt: Format) -> Encoder | ProtobufEncoder:
    return ProtobufEncoder(declared) if fmt is Format.PROTOBUF else Encoder(declared, fmt)


def _same(some: Sequence[object], others: Sequence[object]) -> bool:
    return len(some) == len(others) and all(map(is_, some, others))
