"""What the other servers' applications share: the network and a prediction."""

import io

import torch
from images import MODE, transform
from network import Network
from PIL import Image


def load():
    """Return the network, for one thread: each core has a worker of its own."""
    torch.set_num_threads(1)
    network = Network()
    network.load_state_dict(torch.load("weights.pth", mmap=True))
    return network.eval()


def read(data):
    """Return an encoded image as the network's input."""
    return transform(Image.open(io.BytesIO(data)).convert(MODE))


def classify(network, images):
    """Return a prediction for each image of a list."""
    with torch.inference_mode():
        probabilities = network(torch.stack(images)).softmax(dim=1)
    return [
        {"index": index, "probability": probability}
        for probability, index in zip(*(x.tolist() for x in probabilities.max(dim=1)), strict=True)
    ]
