"""Pure rules: quotas, conditions, ranges, digests. No I/O."""
