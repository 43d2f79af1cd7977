"""What was decided about who may do what in the dashboard, by hand: nothing here is derived from the code under test.

A new page, action, right or role that is not decided here fails.
"""

# o: owner, a: admin, c: accountant, s: support, v: viewer
ROLES = {"o": "owner", "a": "admin", "c": "accountant", "s": "support", "v": "viewer"}
RIGHTS = {
    "store:read": "oacsv",
    "store:write": "oa",
    "invoices:read": "oacsv",
    "invoices:write": "oas",
    "payments:read": "oacsv",
    "payments:write": "oa",
    "customers:read": "oacsv",
    "customers:write": "oas",
    "ledger:read": "oac",
    "events:read": "oacsv",
    "wallets:read": "oac",
    "wallets:write": "o",
    "webhooks:read": "oas",
    "webhooks:write": "oa",
    "audit:read": "oa",
    "alerts:read": "oacsv",
    "alerts:write": "oas",
    "invoices:decide": "oa",
    "customers:decide": "oa",
    "keys:read": "oa",
    "keys:write": "oa",
    "people:read": "oa",
    "people:write": "o",
}
PAGES = {
    "invoices:read": (
        "overview",
        "invoices",
        "invoices/{id}",
        "links",
        "links/{id}",
    ),
    "alerts:read": (
        "alerts",
        "alerts/{id}",
    ),
    "invoices:write": (
        "invoices/new",
        "links/new",
    ),
    "payments:read": (
        "payments",
        "payments/unowned",
        "payments/{id}",
    ),
    "customers:read": (
        "customers",
        "customers/{id}",
    ),
    "ledger:read": (
        "books",
        "books/export",
        "reports",
        "reports/file",
    ),
    "wallets:read": (
        "wallets",
        "wallets/{id}",
        "wallet-changes",
    ),
    "wallets:write": ("wallets/new",),
    "audit:read": ("audit",),
    "webhooks:read": (
        "webhooks",
        "deliveries",
        "webhooks/{id}",
    ),
    "events:read": (
        "events",
        "events/{id}",
    ),
    "store:read": (
        "networks",
        "settings",
    ),
    "keys:read": (
        "keys",
        "keys/{id}",
    ),
    "keys:write": ("keys/new",),
    "people:read": (
        "members",
        "members/roles",
        "members/{id}",
    ),
    "people:write": ("members/new",),
    "member": (
        "account",
        "account/password",
        "account/app",
        "account/passkey",
        "stores",
    ),
}
ACTIONS = {
    "alerts:write": (
        "alerts/{id}/acknowledge",
        "alerts/{id}/close",
    ),
    "invoices:write": (
        "invoices/new",
        "links/new",
        "links/{id}",
        "links/{id}/close",
    ),
    "invoices:decide": ("invoices/{id}/mark",),
    "payments:write": ("payments/{id}/assign",),
    "customers:write": (
        "customers",
        "customers/{id}",
    ),
    "customers:decide": (
        "customers/{id}/loss",
        "customers/{id}/write-off",
    ),
    "wallets:write": (
        "wallets/compare",
        "wallets/new",
        "wallets/{id}",
        "wallet-changes/{id}/confirm",
        "wallet-changes/{id}/cancel",
    ),
    "webhooks:write": (
        "webhooks",
        "webhooks/{id}",
        "webhooks/{id}/switch",
        "webhooks/{id}/secret",
        "webhooks/{id}/delete",
        "webhooks/{id}/test",
        "deliveries/{id}/retry",
        "invoices/{id}/resend",
    ),
    "store:write": ("settings",),
    "keys:write": (
        "keys/new",
        "keys/{id}",
        "keys/{id}/revoke",
    ),
    "people:write": (
        "members/new",
        "members/{id}/role",
        "members/{id}/remove",
        "members/{id}/revoke-keys",
        "members/invited/{id}",
    ),
    "member": (
        "account/name",
        "account/password",
        "account/app",
        "account/codes",
        "account/passkey/ask",
        "account/passkey",
        "account/passkeys/{id}/drop",
        "account/sessions/end",
        "account/sessions/{id}/end",
    ),
}
FRESH = frozenset({
    "account/app", "account/codes", "account/passkey", "account/passkey/ask", "account/passkeys/{id}/drop",
    "account/password", "alerts/{id}/close", "customers/{id}/loss", "customers/{id}/write-off", "invoices/{id}/mark",
    "keys/new", "keys/{id}", "keys/{id}/revoke", "members/invited/{id}", "members/new", "members/{id}/remove",
    "members/{id}/revoke-keys", "members/{id}/role", "payments/{id}/assign", "settings", "wallet-changes/{id}/cancel",
    "wallet-changes/{id}/confirm", "wallets/compare", "wallets/new", "wallets/{id}", "webhooks", "webhooks/{id}",
    "webhooks/{id}/delete", "webhooks/{id}/secret", "webhooks/{id}/switch",
})  # fmt: skip
"""What nobody changes, or makes, who has not shown within some minutes that it is still they: money, keys, people."""
