"""An authenticator in software: makes passkeys and signs with them, as well as what a browser would never send."""

import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

_PRESENT, _VERIFIED, _ATTESTED = 1, 4, 64


def text(data: bytes) -> str:
    """Write bytes as WebAuthn's JSON does: base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(slots=True)
class Authenticator:
    """One passkey for a site (WebAuthn 2, section 6). `count` is what it says of its uses next."""

    origin: str
    host: str
    count: int = 1
    verified: bool = True
    credential: bytes = b"a credential of ours"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def name(self) -> str:
        return text(self.credential)

    @property
    def public_key(self) -> bytes:
        """The key as COSE has it (RFC 9053: kty EC2, ES256, P-256)."""
        numbers = self.key.public_key().public_numbers()
        return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)})

    def signed(self, challenge: str) -> str:
        """Answer what was asked for a sign-in."""
        asked, data = self._client("webauthn.get", challenge), self._data()
        signature = self.key.sign(data + sha256(asked).digest(), ec.ECDSA(SHA256()))
        return self._answer(clientDataJSON=asked, authenticatorData=data, signature=signature)

    def made(self, challenge: str) -> str:
        """Answer what was asked for a new passkey."""
        asked = self._client("webauthn.create", challenge)
        made = {"fmt": "none", "attStmt": {}, "authData": self._data(attested=True)}
        return self._answer(clientDataJSON=asked, attestationObject=cbor2.dumps(made))

    def _client(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _data(self, *, attested: bool = False) -> bytes:
        flags = _PRESENT | (_VERIFIED if self.verified else 0) | (_ATTESTED if attested else 0)
        head = sha256(self.host.encode()).digest() + bytes([flags]) + self.count.to_bytes(4)
        if not attested:
            return head
        return head + bytes(16) + len(self.credential).to_bytes(2) + self.credential + self.public_key

    def _answer(self, **parts: bytes) -> str:
        response = {name: text(part) for name, part in parts.items()}
        return json.dumps({"id": self.name, "rawId": self.name, "type": "public-key", "response": response})
