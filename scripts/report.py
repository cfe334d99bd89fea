"""Write one HTML file of a run, or of several compared: python scripts/report.py RUN [RUN ...] [-o report.html]."""

from lab.report import report

if __name__ == "__main__":
    report()
