"""List runs, and remove some: python scripts/runs.py [LOGS] [--state failed lost] [--remove --yes]."""

from lab.runs_command import runs

if __name__ == "__main__":
    runs()
