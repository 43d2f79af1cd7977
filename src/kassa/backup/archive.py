"""The file of a backup: a tar of small members and pieces of pg_dump's output, encrypted by age as it is written.

Without Kassa: `age -d -i key backup.age | tar x`, then `cat database.* | pg_restore …`. The pieces exist because a tar
names the size of a member before its content, and nobody knows a dump's size before its end.
"""

import os
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO, Any, cast

import pyrage

from kassa.core.errors import BackupError

PIECE = 4 * 2**20
SMALL = 4 * 2**20
"""Bytes of a member that is no piece of the dump, at most."""
DUMP = "database."
_READ = 2**18

Tell = Callable[[int], None]
"""Told how many bytes of the dump went through so far."""


def recipient(text: str) -> Any:  # pyrage's recipients have no common type
    """Read a public key: age1…, or one of OpenSSH; raises `BackupError`."""
    try:
        return (
            pyrage.ssh.Recipient.from_str(text) if text.startswith("ssh-") else pyrage.x25519.Recipient.from_str(text)
        )
    except (pyrage.RecipientError, ValueError) as fault:
        raise BackupError(f"{text[:20]!r} is no public key of age ({fault}): make a pair with age-keygen") from None


def identities(path: Path) -> list[Any]:  # pyrage's identities have no common type
    """Read a file of private keys: lines of AGE-SECRET-KEY-1…, or one OpenSSH key; raises `BackupError`."""
    try:
        text = path.read_text("utf-8")
        if text.startswith("-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(text.encode())]
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        return [pyrage.x25519.Identity.from_str(line) for line in lines]
    except OSError as fault:
        raise BackupError(
            f"{path} cannot be read: {fault.strerror}; name the identity file of age by --identity"
        ) from None
    except (ValueError, pyrage.IdentityError) as fault:
        # Its text may quote the key.
        raise BackupError(f"{path} is no identity file of age ({type(fault).__name__})") from None


def locked(content: bytes, recipients: Sequence[Any]) -> bytes:
    """Encrypt a small content to recipients: `age -d` opens it."""
    return bytes(pyrage.encrypt(content, list(recipients)))


def write(
    file: IO[bytes], recipients: Sequence[Any], members: Mapping[str, bytes], dump: IO[bytes], tell: Tell
) -> tuple[str, Any]:
    """Write into an empty file; return the digest of the dump and an identity of this moment, to verify it.

    The identity is in no file and dies with the process. Raises `BackupError`.
    """
    moment = pyrage.x25519.Identity.generate()
    with _through(lambda source: pyrage.encrypt_io(source, file, [*recipients, moment.to_public()])) as sink:
        digest = _pack(sink, members, dump, tell)
    file.flush()
    os.fsync(file.fileno())
    return digest, moment


def _pack(sink: IO[bytes], members: Mapping[str, bytes], dump: IO[bytes], tell: Tell) -> str:
    digest, done = sha256(), 0
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members.items():
            _add(tar, name, content)
        for number in range(10**6):
            piece = dump.read(PIECE)
            if not piece:
                break
            digest.update(piece)
            done += len(piece)
            _add(tar, f"{DUMP}{number:06}", piece)
            tell(done)
        _add(tar, "sha256", digest.hexdigest().encode())
    return digest.hexdigest()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size, about.mode = len(content), 0o600
    tar.addfile(about, BytesIO(content))


def read(path: Path, keys: Sequence[Any], dump: Callable[[bytes], object] | None, tell: Tell) -> dict[str, bytes]:
    """Read a file; hand the pieces of its dump on in order and return the other members.

    Without a `dump` to hand them to, only what stands before the first piece. Raises `BackupError` for a file that is
    not ours, not for these keys, or damaged: age authenticates every part, and the whole dump has a digest.
    """
    digest, done, found = sha256(), 0, dict[str, bytes]()
    try:
        with _decrypted(path, keys, whole=dump is not None) as source:
            with tarfile.open(fileobj=source, mode="r|") as tar:
                for about in tar:
                    content = _content(tar, about)
                    if not about.name.startswith(DUMP):
                        found[about.name] = content
                    elif dump is None:
                        return found
                    else:
                        digest.update(content)
                        dump(content)
                        done += len(content)
                        tell(done)
            while source.read(_READ):
                pass  # to the end, where age says whether something was cut off
    except (tarfile.TarError, OSError) as fault:
        raise BackupError(f"{path} cannot be read to its end: {fault}") from fault
    if found.get("sha256") != digest.hexdigest().encode():
        raise BackupError(f"{path} is not whole: the digest of its dump is another one")
    return found


def _content(tar: tarfile.TarFile, about: tarfile.TarInfo) -> bytes:
    if not about.isreg() or about.size > max(PIECE, SMALL):
        raise BackupError(f"the backup has a member {about.name[:40]!r} that Kassa does not write")
    part = tar.extractfile(about)
    return b"" if part is None else part.read()


@contextmanager
def _decrypted(path: Path, keys: Sequence[Any], *, whole: bool) -> Iterator[IO[bytes]]:
    """Yield what a file holds, decrypted by a thread beside the reader."""
    try:
        file = path.open("rb")
    except OSError as fault:
        raise BackupError(f"{path} cannot be read: {fault.strerror}") from None
    source, sink = os.pipe()
    faults: list[Exception] = []

    def decrypt() -> None:
        # Ending the pipe early is how the reader says that it has enough.
        with suppress(BrokenPipeError), os.fdopen(sink, "wb") as out, file:
            try:
                pyrage.decrypt_io(file, out, list(keys))
            except (pyrage.DecryptError, OSError, ValueError) as fault:
                faults.append(fault)

    thread = threading.Thread(target=decrypt)
    thread.start()
    try:
        with os.fdopen(source, "rb", buffering=_READ) as reader:
            yield reader
    except (tarfile.TarError, BackupError):
        thread.join()
        if faults:
            raise BackupError(f"{path} cannot be decrypted with these keys, or is damaged: {faults[0]}") from None
        raise
    finally:
        thread.join()
    if whole and faults:
        raise BackupError(f"{path} cannot be decrypted to its end: {faults[0]}")


@contextmanager
def _through(work: Callable[[IO[bytes]], None]) -> Iterator[IO[bytes]]:
    """Yield a sink whose content a thread reads as the source of its work; its fault is ours."""
    source, sink = os.pipe()
    faults: list[Exception] = []

    def run() -> None:
        with os.fdopen(source, "rb", buffering=_READ) as reader:
            try:
                work(reader)
            except (pyrage.EncryptError, OSError, ValueError) as fault:
                faults.append(fault)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with suppress(BrokenPipeError), os.fdopen(sink, "wb", buffering=_READ) as writer:
            yield cast(IO[bytes], writer)
    finally:
        thread.join()
    if faults:
        raise BackupError(f"the backup could not be written ({faults[0]}): is there room for it where it goes?")
