"""The contract tests, for anybody's model, metric or dataset."""
