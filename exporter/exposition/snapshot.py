"""Pieces of an exposition, and the responses joined from them.

Each piece is a run of deflate blocks (RFC 1951) that refers to nothing before it and ends on a byte boundary,
so pieces stay compressed while their neighbours change. Joined between a header and a trailer they are one
gzip member (RFC 1952), whose checksum is combined from theirs.
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
    """Compressed bytes, with checksum and size of the uncompressed ones."""

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
        """Combine checksum and size of two consecutive parts, without their data."""
        checksum = zlib_ng.crc32_combine(self.checksum, other.checksum, other.size)
        return Deflated(b"", checksum, self.size + other.size)


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring fragments.

    Attributes:
        fragments: the bytes, shared with the renderer.
        deflated: the same bytes compressed; None if gzip is not in use.
    """

    fragments: tuple[bytes, ...]
    deflated: Deflated | None
    size: int
    series: int

    @classmethod
    def of(cls, fragments: tuple[bytes, ...], series: int, *, compress: bool) -> "Piece":
        """Measure fragments, and compress them if asked to."""
        plain = b"".join(fragments)
        return cls(fragments, Deflated.of(plain) if compress else None, len(plain), series)


class Snapshot:
    """A complete exposition, except for the live part that is appended at each scrape.

    Args:
        pieces: in their order.
        compressed: whether all of them are compressed.
    """

    def __init__(self, pieces: tuple[Piece, ...], *, compressed: bool) -> None:
        self._pieces = pieces
        self.size = sum(piece.size for piece in pieces)
        self.series = sum(piece.series for piece in pieces)
        self._deflated: Deflated | None = None
        if compressed:
            parts = [piece.deflated for piece in pieces if piece.deflated]
            whole = reduce(Deflated.then, parts, Deflated(b"", 0, 0))
            data = b"".join([_GZIP_HEADER, *(part.data for part in parts)])
            self._deflated = Deflated(data, whole.checksum, whole.size)

    @property
    def is_compressed(self) -> bool:
        """`gzip` is available."""
        return self._deflated is not None

    @property
    def gzip_size(self) -> int:
        """Size of the compressed form in bytes, 0 if there is none."""
        return len(self._deflated.data) if self._deflated else 0

    def identity(self, live: bytes) -> Iterator[bytes]:
        """Yield the exposition in chunks, followed by the live part."""
        chunk: list[bytes] = []
        size = 0
        for piece in self._pieces:
            chunk += piece.fragments
            size += piece.size
            if size >= _CHUNK:
                yield b"".join(chunk)
                chunk, size = [], 0
        yield b"".join([*chunk, live])

    def gzip(self, live: bytes) -> tuple[bytes, bytes]:
        """Return the exposition and the live part as one gzip member, in two parts."""
        if self._deflated is None:
            raise ValueError("this snapshot was rendered without compression")
        end = Deflated.of(live, last=True)
        whole = self._deflated.then(end)
        trailer = whole.checksum.to_bytes(4, "little") + (whole.size & 0xFFFFFFFF).to_bytes(4, "little")
        return self._deflated.data, end.data + trailer
