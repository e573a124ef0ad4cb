"""View → snapshot, rendering again only what has changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import is_
from typing import Final

from exporter.exposition.encoder import Encoder, escaped
from exporter.exposition.formats import Format
from exporter.exposition.snapshot import Piece, Snapshot
from exporter.metrics import FLEET_FAMILIES, Family, FleetView, JobView

BLOCK: Final = 64
"""So many jobs share a piece: more compress better, fewer cost less when one of them changes."""

Fragments = tuple[bytes, ...]
"""The lines of one job, by family; empty where a family shows nothing of it."""


@dataclass(frozen=True, slots=True)
class _Block:
    """The fragments of neighbouring jobs, and the pieces that came of them, by family."""

    fragments: tuple[Fragments, ...]
    pieces: tuple[Piece, ...]


class Renderer:
    """Keeps what it rendered in one format.

    Args:
        families: of jobs.
        form: the format.
    """

    def __init__(self, families: Sequence[Family[JobView]], form: Format) -> None:
        self._families = [(family, Encoder(family, form)) for family in families]
        self._fleet = [(family, Encoder(family, form)) for family in FLEET_FAMILIES]
        self._shown: dict[str, tuple[JobView, Fragments]] = {}
        self._blocks: dict[bool, list[_Block]] = {True: [], False: []}

    def render(self, view: FleetView, *, compress: bool) -> Snapshot:
        """The snapshot of a view.

        Costs what has changed since the last one, and the join. A job that goes moves up those behind it,
        whose pieces are then made anew.

        Args:
            view: what to show.
            compress: whether the snapshot is wanted as gzip too.
        """
        self._shown = {one.job.id: self._seen(one) for one in view.jobs}
        fragments = [lines for _, lines in self._shown.values()]
        before = self._blocks[compress]
        blocks = [
            self._block(
                tuple(fragments[start : start + BLOCK]),
                before[at] if at < len(before) else None,
                compress=compress,
            )
            for at, start in enumerate(range(0, len(fragments), BLOCK))
        ]
        self._blocks = {compress: blocks, not compress: []}
        pieces = (
            *self._pieces_of_jobs(blocks, compress=compress),
            *self._pieces_of_the_fleet(view, compress=compress),
        )
        return Snapshot(pieces, compressed=compress)

    def _seen(self, view: JobView) -> tuple[JobView, Fragments]:
        """A job's fragments; what has not changed stays the same object."""
        known = self._shown.get(view.job.id)
        if known is None or known[0].job != view.job:
            return view, tuple(self._fragment(at, view) for at in range(len(self._families)))
        shown, before = known
        if shown is view:
            return known
        read = view
        if view.ledger and shown.ledger and view.ledger.differs_in_time_alone(shown.ledger):
            read = replace(view, ledger=shown.ledger)
        lines = tuple(self._refreshed(at, read, shown, before[at]) for at in range(len(before)))
        return view, before if lines == before else lines

    def _refreshed(self, at: int, view: JobView, shown: JobView, before: bytes) -> bytes:
        family, _ = self._families[at]
        if family.reads(view) is family.reads(shown):
            return before
        lines = self._fragment(at, view)
        return before if lines == before else lines

    def _fragment(self, at: int, view: JobView) -> bytes:
        family, encoder = self._families[at]
        names = escaped(view.job.project), escaped(view.job.name)
        since_ms = view.ledger.since_ms if view.ledger else None
        return "".join(
            [
                encoder.text((*names, *map(escaped, labels)), value, since_ms)
                for labels, value in family.samples(view)
            ]
        ).encode()

    def _block(self, fragments: tuple[Fragments, ...], before: _Block | None, *, compress: bool) -> _Block:
        if before and _same(fragments, before.fragments):
            return before
        pieces = []
        for at in range(len(self._families)):
            column = tuple(lines[at] for lines in fragments)
            kept = before.pieces[at] if before else None
            if kept is None or not _same(column, kept.fragments):
                kept = Piece.of(column, compress=compress)
            pieces.append(kept)
        return _Block(fragments, tuple(pieces))

    def _pieces_of_jobs(self, blocks: Sequence[_Block], *, compress: bool) -> Iterator[Piece]:
        for at, (_, encoder) in enumerate(self._families):
            pieces = [block.pieces[at] for block in blocks if block.pieces[at].size]
            if pieces:
                yield Piece.of((encoder.header,), compress=compress)
                yield from pieces

    def _pieces_of_the_fleet(self, view: FleetView, *, compress: bool) -> Iterator[Piece]:
        for family, encoder in self._fleet:
            text = "".join(
                [
                    encoder.text(tuple(map(escaped, labels)), value, None)
                    for labels, value in family.samples(view)
                ]
            )
            if text:
                yield Piece.of((encoder.header, text.encode()), compress=compress)


def _same(some: Sequence[object], others: Sequence[object]) -> bool:
    return len(some) == len(others) and all(map(is_, some, others))
