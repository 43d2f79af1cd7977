"""A store with one of each thing that a form of the dashboard names, and a full valid body for every form."""

from base64 import b64encode
from dataclasses import replace
from typing import Any

import aiohttp
import pyotp

from kassa import flow
from kassa.alerts import store as alerts
from kassa.alerts.model import Finding, Kind, Severity
from kassa.core.ids import CustomerId
from kassa.customers import store as customers
from kassa.db.pool import Tx
from kassa.ledger import store as ledger
from kassa.ledger.model import RECEIVABLES, SALES, Entry, Posting
from kassa.people import store as people
from kassa.people.model import Role
from kassa.stores import store as stores
from kassa.stores.model import SCOPES
from tests.api.served import OPERATOR, Caller
from tests.dashboard.visitor import PASSWORD, Premises
from tests.house import BITCOIN, TPUB
from tests.images import png

OTHER = f"wpkh({TPUB}/7/*)"
Ids = dict[str, str]


async def furnish(premises: Premises, person: str) -> Ids:
    """Make the things, with a passkey and another session of a person; return their ids by prefix."""
    house, store, now = premises.house, premises.store, premises.clock.now()
    async with house.database.transaction() as tx:
        # Recorded, as a key is that may ask for the change of a wallet.
        _, text = await flow.create_key(tx, house, OPERATOR, store, now, scopes=SCOPES)
        key_id, _ = await stores.create_key(tx, store, now, scopes=["invoices:read"], label="to be revoked")
        colleague = await people.create(tx, "colleague@shop.example", "A colleague", now)
        await people.put_member(tx, store.id, colleague.id, Role.VIEWER, now)
        await people.put_passkey(tx, person, ("cred", b"k", 0), "phone", now)  # type: ignore[arg-type]
        await tx.execute(
            "insert into sessions select (json_populate_record(s, json_build_object('id', 'ses_' || repeat('2', 29),"
            " 'hash', '\\x00'))).* from sessions s where person_id = $1 limit 1",
            person,
        )
        alert = await alerts.open_alert(tx, Finding(Kind.CREDIT_LOST, "x", Severity.WARNING, "why", store.id), now)
        assert alert is not None
    await premises.invited("guest@shop.example", Role.VIEWER)
    async with aiohttp.ClientSession() as session:
        ids = await _by_api(Caller(session, premises.base, text))
    pool = house.database.pool
    await pool.execute(
        """insert into payments (id, network, txid, position, asset, units, maturity, address_id, first_seen_at,
               replaceable, block_height, block_hash)
           select $1, network, 'ab', 'out:0', $2, 1000, 0, id, $3, false, 100, 'cd' from addresses
           where invoice_id = $4""",
        f"pay_{'1' * 29}", f"BTC@{BITCOIN}", now, ids["inv"],
    )  # fmt: skip
    async with house.database.transaction() as tx:
        await owe(tx, premises, ids["cus"], 1_000)
    return ids | {
        "key": key_id, "per": colleague.id, "alt": alert.id, "pay": f"pay_{'1' * 29}", "ses": f"ses_{'2' * 29}",
        "psk": await pool.fetchval("select id from passkeys"),
        "ivt": await pool.fetchval("select max(id) from invitations"),
    }  # fmt: skip


async def owe(tx: Tx, premises: Premises, customer: str, units: int) -> None:
    """Let a customer owe something: credit that bought something and was lost, worth five cents for each 100 units."""
    asset, value, now = f"BTC@{BITCOIN}", units // 20, premises.clock.now()
    await customers.move(tx, {(CustomerId(customer), asset): -units})
    postings = (Posting(RECEIVABLES, asset, units, value, None), Posting(SALES, asset, -units, -value, None))
    entry = Entry(premises.store.id, "credit that was spent and lost", customer_id=CustomerId(customer))
    await ledger.post(tx, [replace(entry, postings=postings)], now)


async def _by_api(mine: Caller) -> Ids:
    invoice, customer = await mine.invoice(), (await mine.post("/v1/customers", {})).json
    hook = (await mine.post("/v1/webhooks", {"url": "https://shop.example/hook"})).json
    link = {"title": "Tea", "amount": "5.00", "currency": "EUR", "reusable": True, "show_received": True}
    made = (await mine.post("/v1/payment-links", link)).json
    wallet = (await mine.get("/v1/wallets")).json["data"][0]["id"]
    change = (await mine.post(f"/v1/wallets/{wallet}/change", {"descriptor": OTHER})).json
    delivery = (await mine.post(f"/v1/webhooks/{hook['id']}/test")).json
    return {
        "inv": invoice["id"], "cus": customer["id"], "whk": hook["id"], "lnk": made["id"], "wal": wallet,
        "wch": change["id"], "dlv": delivery["id"], "fingerprint": change["fingerprint"],
    }  # fmt: skip


def bodies(premises: Premises, ids: Ids) -> dict[str, dict[str, Any]]:
    """Return what to send, form by form, in an order in which each can be done."""
    secret = pyotp.random_base32()
    policy = {
        "tolerance_percent": "1", "tolerance_amount": "0.50", "short": "accept", "short_limit_percent": "2",
        "over": "credit", "late_grace_seconds": "60", "late_rate_percent": "1",
    }  # fmt: skip
    looks = {
        "name": "New name", "spread_percent": "0.5", "colour": "#0b5cd5", "logo": b64encode(png(4, 3)).decode(),
        "no_logo": "", "frame_ancestors": "https://shop.example", "redirect_origins": "https://a.example https://b.example",
    }  # fmt: skip
    hook = {"url": "https://shop.example/other", "events": "invoice.* payment.settled"}
    words = {"title": "Tea", "description": "Green", "reference": "r-1", "redirect_url": "https://shop.example/"}
    return {
        "alerts/{id}/acknowledge": {"note": "I look"},
        "alerts/{id}/close": {"note": "It is over"},
        "invoices/new": {
            "amount": "9.90", "currency": "EUR", "expires_in": "900", "payment_options": f"BTC@{BITCOIN}",
            "customer": ids["cus"], "metadata": "table = 7",
        },
        "invoices/{id}/mark": {"as": "settled"},
        "links/new": words | {"amount": "5", "currency": "EUR", "reusable": "yes", "show_received": "no"},
        "links/{id}": words | {"show_received": "yes"},
        "links/{id}/close": {"closed": "yes"},
        "customers/{id}/loss": {"asset": f"BTC@{BITCOIN}", "amount": "0.00000400", "note": "gone"},
        "customers/{id}/write-off": {"asset": f"BTC@{BITCOIN}", "amount": "0.00000400", "note": "gone"},
        "payments/{id}/assign": {"customer_id": ids["cus"]},
        "customers": {"reference": "user-18", "name": "Ada"},
        "customers/{id}": {"asset": f"BTC@{BITCOIN}"},
        "wallet-changes/{id}/confirm": {"fingerprint": ids["fingerprint"]},
        "wallet-changes/{id}/cancel": {},
        "wallets/{id}": {"descriptor": OTHER},
        "wallets/compare": {"network": BITCOIN, "descriptor": OTHER},
        "webhooks": hook,
        "webhooks/{id}": hook,
        "webhooks/{id}/secret": {},
        "webhooks/{id}/test": {},
        "deliveries/{id}/retry": {},
        "invoices/{id}/resend": {"delivery_id": ids["dlv"]},
        "webhooks/{id}/switch": {"disabled": "yes"},
        "webhooks/{id}/delete": {},
        "settings": {"version": "1"} | looks | policy,
        "keys/new": {"label": "shop", "life": "30", "allowed_from": "203.0.113.7", "scopes": "invoices:read"},
        "keys/{id}": {"allowed_from": "203.0.113.7, 2001:db8::/32", "was": ""},
        "keys/{id}/revoke": {},
        "members/new": {"email": "new@shop.example", "role": "viewer"},
        "members/{id}/role": {"role": "support"},
        "members/{id}/revoke-keys": {},
        "members/{id}/remove": {},
        "members/invited/{id}": {},
        "account/name": {"name": "Me"},
        "account/passkey/ask": {},
        "account/sessions/{id}/end": {},
        "account/sessions/end": {},
        "account/passkeys/{id}/drop": {},
        "account/codes": {},
        "account/app": {"secret": secret, "code": pyotp.TOTP(secret).at(premises.clock.now())},
        "account/password": {"password": PASSWORD + " anew"},
        # Last: a store has one wallet on a network, and the test takes away the one that is there.
        "wallets/new": {"network": BITCOIN, "descriptor": OTHER, "compared": "yes"},
    }  # fmt: skip
