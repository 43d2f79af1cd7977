"""The path of a payment: the only room that joins the features.

`opening` makes an invoice. Five gates lead to what happens to it afterwards: a change of the chain and a look into the
mempool (`chain`, which fixes by `sighting` what a transfer is worth), the clock and a person's decision (`standing`),
and credit that is spent (`spending`). All of them end in `standing`, which works out afresh where invoices and
`deposits` stand and writes the difference: announcements, events, and by `accounts` and `booking` the entries and the
credit that follow. `contracts` holds back an asset that is in doubt. `pricing` knows what an asset is worth, `spreads`
what our rates of it were worth afterwards. `taking` keeps to the bound of unpaid addresses; `addresses` gives customers
theirs; `administration` changes stores, keys, wallets and webhooks, and records it; `wallet_changes`
replaces a wallet, slowly; `sharing` watches its addresses also where they were not issued.
`showing` and `timeline` only read; `guarding` reports what must not be shown, and `reconciling` where the books are not
what a node shows. `alerting` carries out what people decide about alerts. `verifying` works the books out anew,
`reporting` sums them up, `keeping` keeps sums of what is over, and by `writing_off` a person gives up what a
customer owes. `linking` says where payment links stand by the invoices that `attempting` made for them.
"""

from kassa.flow.addresses import Issuing, issue_address, prepare_address
from kassa.flow.administration import (
    add_wallet,
    bind_key,
    change_store,
    create_endpoint,
    create_key,
    create_store,
    delete_endpoint,
    revoke_key,
    rotate_webhook_secret,
    set_spread,
    show_webhook_secret,
    update_endpoint,
)
from kassa.flow.alerting import decide_alert, on_findings
from kassa.flow.assigning import assign_payment, unassigned
from kassa.flow.attempting import attempt_link, last_attempt
from kassa.flow.chain import (
    give_up_network,
    halt_network,
    note_node,
    on_chain_update,
    on_final,
    on_pending,
    on_undoing,
    resume_network,
)
from kassa.flow.contracts import on_contracts, thaw_asset
from kassa.flow.detecting import (
    ADDRESSES,
    AUDIT_LOG,
    DEADLINES,
    DETECTORS,
    RATE_SOURCES,
    ROUNDS,
    WHOLE_AUDIT_LOG,
    Detector,
    detect,
    expected,
    note_round,
)
from kassa.flow.finding import (
    find_customers,
    find_deliveries,
    find_events,
    find_invoices,
    find_links,
    find_payments,
)
from kassa.flow.guarding import check_addresses, check_deposits, check_wallets
from kassa.flow.keeping import keep_sums
from kassa.flow.linking import (
    LinkOrder,
    LinkView,
    change_link,
    link_list,
    link_resource_of,
    link_view,
    make_link,
    on_link_deadlines,
)
from kassa.flow.locking import lock_anew, lock_secrets
from kassa.flow.nodes import note_clock, note_words, on_ability, on_delegates
from kassa.flow.opening import Opening, open_invoice, quote_invoice
from kassa.flow.opinions import on_second_opinion
from kassa.flow.overview import overview
from kassa.flow.pricing import priced_pairs, rate_alarms, rates_at, wanted_markets
from kassa.flow.reconciling import on_reconciled
from kassa.flow.reporting import report
from kassa.flow.sharing import ABOVE_ALL, share_addresses
from kassa.flow.showing import (
    PayerView,
    invoice_list,
    invoice_resource,
    payer_views,
    payment_list,
    payment_rate,
    payment_resource,
)
from kassa.flow.spending import pay_from_credit
from kassa.flow.standing import mark_invoice, on_deadlines, reassess
from kassa.flow.taking import recount
from kassa.flow.timeline import timeline
from kassa.flow.verifying import verify
from kassa.flow.wallet_changes import (
    ask_wallet_change,
    cancel_wallet_change,
    confirm_wallet_change,
    on_wallet_changes,
)
from kassa.flow.writing_off import owing, preview_write_off, write_off

__all__ = [
    "ABOVE_ALL",
    "ADDRESSES",
    "AUDIT_LOG",
    "DEADLINES",
    "DETECTORS",
    "RATE_SOURCES",
    "ROUNDS",
    "WHOLE_AUDIT_LOG",
    "Detector",
    "Issuing",
    "LinkOrder",
    "LinkView",
    "Opening",
    "PayerView",
    "add_wallet",
    "ask_wallet_change",
    "assign_payment",
    "attempt_link",
    "bind_key",
    "cancel_wallet_change",
    "change_link",
    "change_store",
    "check_addresses",
    "check_deposits",
    "check_wallets",
    "confirm_wallet_change",
    "create_endpoint",
    "create_key",
    "create_store",
    "decide_alert",
    "delete_endpoint",
    "detect",
    "expected",
    "find_customers",
    "find_deliveries",
    "find_events",
    "find_invoices",
    "find_links",
    "find_payments",
    "give_up_network",
    "halt_network",
    "invoice_list",
    "invoice_resource",
    "issue_address",
    "keep_sums",
    "last_attempt",
    "link_list",
    "link_resource_of",
    "link_view",
    "lock_anew",
    "lock_secrets",
    "make_link",
    "mark_invoice",
    "note_clock",
    "note_node",
    "note_round",
    "note_words",
    "on_ability",
    "on_chain_update",
    "on_contracts",
    "on_deadlines",
    "on_delegates",
    "on_final",
    "on_findings",
    "on_link_deadlines",
    "on_pending",
    "on_reconciled",
    "on_second_opinion",
    "on_undoing",
    "on_wallet_changes",
    "open_invoice",
    "overview",
    "owing",
    "pay_from_credit",
    "payer_views",
    "payment_list",
    "payment_rate",
    "payment_resource",
    "prepare_address",
    "preview_write_off",
    "priced_pairs",
    "quote_invoice",
    "rate_alarms",
    "rates_at",
    "reassess",
    "recount",
    "report",
    "resume_network",
    "revoke_key",
    "rotate_webhook_secret",
    "set_spread",
    "share_addresses",
    "show_webhook_secret",
    "thaw_asset",
    "timeline",
    "unassigned",
    "update_endpoint",
    "verify",
    "wanted_markets",
    "write_off",
]
