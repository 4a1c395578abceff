"""The `aws` CLI drives every operation."""
