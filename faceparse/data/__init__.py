"""Published data sets and folders as pictures and masks; `celebamask`, `portrait` and `splits` do without torch."""
