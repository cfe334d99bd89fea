"""How fast training and scoring are, beside a bare loop and beside what else there is."""
