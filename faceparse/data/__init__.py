"""Published data sets and folders of files as pictures and masks; `celebamask` and `splits` do without torch."""
