"""Published data sets and folders of files as pictures and masks: `celebamask` without torch, `folder` for training."""
