"""The public halves of merchants' wallets, and every address ever issued from them."""
