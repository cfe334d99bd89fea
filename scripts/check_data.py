"""Check a folder of pictures before training on it: python scripts/check_data.py FOLDER."""

from lab.check_command import check_data

if __name__ == "__main__":
    check_data()
