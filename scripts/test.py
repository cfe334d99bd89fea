"""Score a checkpoint on test data: python scripts/test.py --ckpt_path RUN/checkpoints/best.ckpt [--data ...]."""

from lab.commands import test

if __name__ == "__main__":
    test()
