"""A certificate authority made for a test, by ``openssl``."""

import ssl
import subprocess
from pathlib import Path


def make_authority(
    folder: Path, names: str = "IP:127.0.0.1,DNS:codearts.test"
) -> tuple[Path, ssl.SSLContext]:
    """An authority's certificate, and a server's side of TLS that it vouches for, under these names.

    Raises:
        FileNotFoundError: there is no ``openssl``.
    """
    (folder / "server.ext").write_text(f"subjectAltName={names}\n")
    authority = "-subj /CN=authority -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign"
    signing = "-CA ca.pem -CAkey ca.key -CAcreateserial -extfile server.ext"
    for command in (
        f"req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -out ca.pem {authority}",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=server",
        f"x509 -req -days 2 -in server.csr -out server.pem {signing}",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return folder / "ca.pem", context
