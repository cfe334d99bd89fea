"""Run the experiments and write a table of them: python scripts/reproduce.py [NAME ...] [--seeds 3] [--fast]."""

from lab.reproduce import reproduce

if __name__ == "__main__":
    reproduce()
