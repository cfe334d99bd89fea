"""Time training and scoring beside others: python scripts/benchmark.py [p2 retrieval ...] [--rounds 5]."""

from lab.benchmark.command import benchmark

if __name__ == "__main__":
    benchmark()
