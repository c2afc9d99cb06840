"""Packs a wheel of the library that cargo has built: `wheel.py FOLDER OUT`, where FOLDER is cargo's; prints its path.

For tests only. What is published is made by maturin, which writes the same files and more about them.
"""

import base64
import hashlib
import pathlib
import sys
import sysconfig
import zipfile

here = pathlib.Path(__file__).resolve().parent
built, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
version = next(line.split('"')[1] for line in (here / "../../Cargo.toml").read_text().splitlines() if line.startswith("version ="))
tag = f"cp310-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
library = next(path for path in (built / f"libmambabyte_python.{end}" for end in ("so", "dylib")) if path.is_file())

files = {f"mambabyte/{path.name}": path.read_bytes() for path in sorted((here / "python/mambabyte").iterdir()) if path.is_file()}
files["mambabyte/_mambabyte.abi3.so"] = library.read_bytes()
info = f"mambabyte-{version}.dist-info"
files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: mambabyte\nVersion: {version}\nRequires-Python: >=3.10\n".encode()
files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: wheel.py\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()
record = ""
for name, data in files.items():
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    record += f"{name},sha256={digest},{len(data)}\n"
files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()

out.mkdir(parents=True, exist_ok=True)
for old in out.glob("*.whl"):
    old.unlink()
wheel = out / f"mambabyte-{version}-{tag}.whl"
# Packed quickly: it is unpacked once.
with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
    for name, data in files.items():
        archive.writestr(name, data)
print(wheel)
