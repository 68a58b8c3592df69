"""Scripts to run, one by one, from a checkout; what two of them share is imported."""
