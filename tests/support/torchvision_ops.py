"""Can TorchGeo be imported here? PyPI's torchvision does not load beside a PyTorch for the CPU alone.

Two operators are then declared, without which it would; TorchGeo's datasets and samplers use neither. Workers import this, too.
"""

from __future__ import annotations

import importlib
import pickle
import sys

_DECLARED = ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",)
_DECLARED += tuple(one.replace("nms", "qnms", 1) for one in _DECLARED)
_libraries = []


def make_importable():
    """Import torchvision, with these operators where it lacks them."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "nms" not in str(error):
            raise
        for name in [one for one in sys.modules if one.startswith("torchvision")]:
            del sys.modules[name]
        import torch  # here, so that the module can be collected without PyTorch

        library = torch.library.Library("torchvision", "DEF")
        for one in _DECLARED:
            library.define(one)
        _libraries.append(library)
        importlib.import_module("torchvision")


class ForWorkers:
    """A dataset that a worker unpickles after torchvision is importable there."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __getitems__(self, queries):
        return self.dataset.__getitems__(queries)

    def __getitem__(self, query):
        return self.dataset[query]

    def __reduce__(self):
        return _restored, (pickle.dumps(self.dataset),)


def _restored(dataset):
    make_importable()
    return ForWorkers(pickle.loads(dataset))
