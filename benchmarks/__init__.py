"""The benchmarks: gossipkv beside its yardsticks, measured in one run. See docs/benchmarks.md."""
