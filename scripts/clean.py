"""Find wrong labels among the training images of a run: python scripts/clean.py RUN [--num 100] [--judge CONFIG]."""

from lab.clean import clean

if __name__ == "__main__":
    clean()
