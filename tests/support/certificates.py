"""Certificate authorities for tests, made by ``openssl`` with EC keys, which take no time to generate."""

import shutil
import ssl
import subprocess
from pathlib import Path

from tests.support.programs import program

NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"


def make_authority(
    folder: Path, names: str = "IP:127.0.0.1,DNS:codearts.test"
) -> tuple[Path, ssl.SSLContext]:
    """Return an authority's certificate, and a server's TLS context with a certificate for these names."""
    (folder / "server.ext").write_text(f"subjectAltName={names}\n")
    authority = "-subj /CN=authority -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign"
    signing = "-CA ca.pem -CAkey ca.key -CAcreateserial -extfile server.ext"
    for command in (
        f"req -x509 {NEW_KEY} -nodes -days 2 -keyout ca.key -out ca.pem {authority}",
        f"req {NEW_KEY} -nodes -keyout server.key -out server.csr -subj /CN=server",
        f"x509 -req -days 2 -in server.csr -out server.pem {signing}",
    ):
        subprocess.run([program("openssl"), *command.split()], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return folder / "ca.pem", context


class Authority:
    """A certificate authority, which issues ``{name}.pem`` and ``{name}.key`` in its folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        uses = "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign"
        self._openssl(
            f"req -x509 {NEW_KEY} -nodes -keyout ca.key -days 2 -out ca.pem -subj /CN={folder.name} {uses}"
        )

    @property
    def certificate(self) -> Path:
        """The certificate of the authority."""
        return self.folder / "ca.pem"

    def issue(self, name: str, alternatives: str = "IP:127.0.0.1", days: int = 2) -> tuple[Path, Path]:
        """Issue a certificate and its key; with -1 for ``days`` it expired yesterday."""
        (self.folder / "issue.ext").write_text(f"subjectAltName={alternatives}\n")
        signing = "-CA ca.pem -CAkey ca.key -CAcreateserial -extfile issue.ext"
        self._openssl(f"req {NEW_KEY} -nodes -keyout {name}.key -out issue.csr -subj /CN={name}")
        self._openssl(f"x509 -req -days {days} -in issue.csr -out {name}.pem {signing}")
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def _openssl(self, command: str) -> None:
        subprocess.run(
            [program("openssl"), *command.split()], cwd=self.folder, check=True, capture_output=True
        )


def put(files: tuple[Path, Path], folder: Path, name: str = "server") -> None:
    """Replace a certificate and its key atomically, each by a rename, as a rotation does."""
    for file in files:
        new = folder / f"{name}{file.suffix}.new"
        shutil.copy(file, new)
        new.rename(folder / f"{name}{file.suffix}")
