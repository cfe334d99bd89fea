"""Search hyperparameters: python scripts/sweep.py --config configs/classifier.yaml --space space.yaml [--num_trials 20 ...]."""

from lab.sweep import sweep

if __name__ == "__main__":
    sweep()
