"""Speed and memory as ratios against a peer, measured in one run: `python -m benchmarks`."""
