"""What a payer sees: pages of invoices and payment links, whole without a script, and a stream that keeps them live."""
