"""`python -m lstmhmm_bio` is `lstmhmm`."""

from .cli import main

main()
