"""Make the folders of photographs that experiments read, of Caltech-101: python scripts/caltech.py [ROOT]."""

from lab.caltech_command import make_caltech

if __name__ == "__main__":
    make_caltech()
