"""What a release is made of: ``make release``. Nothing of the product imports it."""
