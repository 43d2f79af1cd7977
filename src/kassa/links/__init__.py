"""Payment links: pages that ask for an amount and make an invoice for each attempt to pay it."""
