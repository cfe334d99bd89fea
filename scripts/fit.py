"""Train: python scripts/fit.py --config configs/triplet.yaml [--trainer.max_epochs 3 ...]."""

from lab.commands import fit

if __name__ == "__main__":
    fit()
