"""What one asset is worth in a currency, from where and since when."""
