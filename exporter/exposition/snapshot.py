"""Pieces of an exposition, and the answers made of them.

Each piece is a run of deflate blocks (RFC 1951) that refers to nothing before it and ends on a byte, so that
pieces stay compressed while their neighbours change: joined behind one header and before one trailer they are
one gzip member (RFC 1952). Its checksum is combined from theirs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Final

from zlib_ng import zlib_ng

_LEVEL: Final = 5
_RAW: Final = -15
_CHUNK: Final = 1 << 18
_GZIP_HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


@dataclass(frozen=True, slots=True)
class Deflated:
    """Compressed bytes, and the checksum and the size of what they hold."""

    data: bytes
    checksum: int
    size: int

    @classmethod
    def of(cls, plain: bytes, *, last: bool = False) -> "Deflated":
        """Compress; ``last`` ends the stream."""
        compressor = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, _RAW)
        data = compressor.compress(plain)
        data += compressor.flush(zlib_ng.Z_FINISH if last else zlib_ng.Z_SYNC_FLUSH)
        return cls(data, zlib_ng.crc32(plain), len(plain))

    def then(self, other: "Deflated") -> "Deflated":
        """Both, one after the other, without joining their data."""
        checksum = zlib_ng.crc32_combine(self.checksum, other.checksum, other.size)
        return Deflated(b"", checksum, self.size + other.size)


_NOTHING: Final = Deflated(b"", 0, 0)


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring fragments.

    Attributes:
        fragments: the text; shared with whoever else holds it.
        deflated: the same compressed; None where nobody asks for that.
    """

    fragments: tuple[bytes, ...]
    deflated: Deflated | None
    size: int
    series: int

    @classmethod
    def of(cls, fragments: tuple[bytes, ...], *, compress: bool) -> "Piece":
        """Join them as far as that saves work later."""
        plain = b"".join(fragments)
        comments = sum(1 for fragment in fragments if fragment.startswith(b"#"))
        return cls(
            fragments,
            Deflated.of(plain) if compress else None,
            len(plain),
            plain.count(b"\n") - 2 * comments,
        )


class Snapshot:
    """An exposition as far as it is ready: all but what must be live.

    Args:
        pieces: in their order.
        compressed: whether all of them are.
    """

    def __init__(self, pieces: tuple[Piece, ...], *, compressed: bool) -> None:
        self._pieces = pieces
        self.size = sum(piece.size for piece in pieces)
        self.series = sum(piece.series for piece in pieces)
        self._deflated: Deflated | None = None
        if compressed:
            deflated = [piece.deflated for piece in pieces if piece.deflated]
            whole = reduce(Deflated.then, deflated, _NOTHING)
            data = b"".join([_GZIP_HEADER, *(one.data for one in deflated)])
            self._deflated = Deflated(data, whole.checksum, whole.size)

    @property
    def is_compressed(self) -> bool:
        """Whether `gzip` can be had."""
        return self._deflated is not None

    @property
    def gzip_size(self) -> int:
        """Bytes of the compressed form."""
        return len(self._deflated.data) if self._deflated else 0

    def identity(self, live: bytes) -> Iterator[bytes]:
        """The text in handy chunks, with what is live at its end."""
        waiting: list[bytes] = []
        size = 0
        for piece in self._pieces:
            waiting += piece.fragments
            size += piece.size
            if size >= _CHUNK:
                yield b"".join(waiting)
                waiting, size = [], 0
        yield b"".join([*waiting, live])

    def gzip(self, live: bytes) -> tuple[bytes, bytes]:
        """The same as one gzip member: what was ready, and the end of it."""
        if self._deflated is None:
            raise ValueError("this snapshot was rendered without compression")
        end = Deflated.of(live, last=True)
        whole = self._deflated.then(end)
        trailer = whole.checksum.to_bytes(4, "little") + (whole.size & 0xFFFFFFFF).to_bytes(4, "little")
        return self._deflated.data, end.data + trailer
