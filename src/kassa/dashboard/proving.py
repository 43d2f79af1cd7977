"""A fresh proof of who sends a form, asked for without losing what they typed (WCAG 2.2: 2.2.5, 3.3.7).

The page that asks for it carries what was typed, so that nothing of it is kept here. Then comes the form again, filled
in, to be looked at and sent: nothing is done unseen, and every check is made when it is done.
"""

from kassa.core.errors import FieldFault, Invalid, Rejected
from kassa.dashboard import entering
from kassa.dashboard.browser import Form
from kassa.dashboard.visit import Visit

PREFIX = "proof_"
PROOF = ("proof_password", "proof_code", "proof_credential")
"""The fields of the proof, beside those of the form."""
SECRETS = frozenset({"password", "secret", "code", "credential"})
"""Fields that no page carries: they are filled in again."""


def parted(form: Form) -> tuple[dict[str, str], Form]:
    """Return the proof that came with a form, if any, and the form without it."""
    proof = {name.removeprefix(PREFIX): value for name, value in form.values.items() if name in PROOF}
    return proof, Form({name: value for name, value in form.values.items() if name not in PROOF}, form.many)


def carried(form: Form) -> list[tuple[str, str]]:
    """Return what the page that asks for the proof carries of a form."""
    single = [(name, value) for name, value in form.values.items() if name not in SECRETS]
    return single + [(name, value) for name, values in form.many.items() for value in values]


async def prove(visit: Visit, proof: dict[str, str]) -> None:
    """Take a proof; raises `Invalid`, `Throttled`."""
    if credential := proof.get("credential"):
        await entering.confirm_by_passkey(visit.house, visit.browser, visit.session, credential, visit.site)
        return
    password, code = proof.get("password", ""), proof.get("code", "")
    await entering.confirm(visit.house, visit.browser, visit.session, password, code)


def faults_of(error: Rejected) -> dict[str, str]:
    """Return what was wrong with a proof, by field of the page that asked for it, or for all of them."""
    faults = error.faults if isinstance(error, Invalid) else (FieldFault("", str(error)),)
    return {PREFIX + fault.field: fault.message for fault in faults}
