"""Commands that prove things to an operator: the audit log to be whole, addresses to be the merchant's own."""
