"""What `tests.killing` imports once, for all the processes that it starts."""

from importlib import import_module

import cv2
import torch

for name in ("commands.preprocess", "commands.test", "commands.train", "data.portrait", "engine", "export", "runs"):
    import_module(f"faceparse.{name}")
import_module("hand_generator.generate")

cv2.setNumThreads(0)
torch.set_num_threads(1)
