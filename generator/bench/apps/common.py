"""What the other servers' applications share: the network and one answer."""

import io

import torch
from network import Network
from pictures import MODE, transform
from PIL import Image


def load():
    """Return the network, for one thread: each core has a worker of its own."""
    torch.set_num_threads(1)
    network = Network()
    network.load_state_dict(torch.load("weights.pth", mmap=True))
    return network.eval()


def read(data):
    """Return an encoded picture as the network's input."""
    return transform(Image.open(io.BytesIO(data)).convert(MODE))


def classify(network, pictures):
    """Return an answer for each picture of a list."""
    with torch.inference_mode():
        probabilities = network(torch.stack(pictures)).softmax(dim=1)
    return [
        {"index": index, "probability": probability}
        for probability, index in zip(*(x.tolist() for x in probabilities.max(dim=1)), strict=True)
    ]
