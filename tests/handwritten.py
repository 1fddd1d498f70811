"""Services as people write them by hand, in the style of TorchServe's tutorials."""

from __future__ import annotations

# A BaseHandler that makes its network, with a weights file whose name is in the code.
BASE = {
    "handler.py": '''
import io
import logging
import os

import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image
from torchvision import models, transforms
from ts.torch_handler.base_handler import BaseHandler

logger = logging.getLogger(__name__)

CLASSES = ["daisy", "dandelion", "rose"]
IMG_SIZE = 128


class FlowerHandler(BaseHandler):
    """
    Classifies flowers.
    """

    def __init__(self):
        super(FlowerHandler, self).__init__()
        self.initialized = False

    def initialize(self, ctx):
        properties = ctx.system_properties
        model_dir = properties.get("model_dir")
        self.device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")

        model = models.mobilenet_v3_small(weights=None)
        model.classifier[3] = nn.Linear(1024, len(CLASSES))
        state_dict = torch.load(
            os.path.join(model_dir, "flowers_mobilenet.pth"), map_location=self.device
        )
        model.load_state_dict(state_dict)
        self.model = model.to(self.device)
        self.model.eval()
        self.transform = transforms.Compose([
            transforms.Resize((IMG_SIZE, IMG_SIZE)),
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ])
        self.initialized = True

    def preprocess(self, data):
        images = []
        for row in data:
            image = row.get("data") or row.get("body")
            image = Image.open(io.BytesIO(image)).convert("RGB")
            images.append(self.transform(image))
        return torch.stack(images).to(self.device)

    def inference(self, x):
        with torch.no_grad():
            return F.softmax(self.model(x), dim=1)

    def postprocess(self, outputs):
        results = []
        for output in outputs:
            probs, indices = torch.topk(output, 2)
            results.append([
                {"class": CLASSES[i], "prob": p} for p, i in zip(probs.tolist(), indices.tolist())
            ])
        return results
''',
    "build.sh": """#!/bin/bash
set -e
NAME=flowers
rm -f model_store/$NAME.mar
torch-model-archiver --model-name ${NAME} --version 2.1 \\
    --serialized-file flowers_mobilenet.pth \\
    --handler handler.py --export-path model_store --force
""",
    "requirements.txt": "torch==1.13.1\ntorchvision\n# images\nPillow\nOpenCV_Python>=4\n",
    ".gitignore": "*.pth\nsecrets.env\n",
}

# A class that wraps torchvision's network, given to the archive as --model-file.
WRAPPER = {
    "model.py": """
import torch.nn as nn
import torchvision.models as models


class PetClassifier(nn.Module):
    def __init__(self, num_classes=4):
        super().__init__()
        self.resnet18 = models.resnet18(weights=None)
        in_features = self.resnet18.fc.in_features
        self.resnet18.fc = nn.Sequential(
            nn.Linear(in_features, 64),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(64, num_classes),
        )

    def forward(self, x):
        return self.resnet18(x)
""",
    "pet_handler.py": """
import io

import torch
from PIL import Image
from torchvision import transforms as T
from ts.torch_handler.base_handler import BaseHandler


class PetHandler(BaseHandler):
    image_processing = T.Compose([
        T.Resize(256),
        T.CenterCrop(224),
        T.ToTensor(),
        T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])

    def preprocess(self, data):
        images = []
        for row in data:
            image = Image.open(io.BytesIO(row.get("data") or row.get("body"))).convert("RGB")
            images.append(self.image_processing(image))
        return torch.stack(images).to(self.device)

    def postprocess(self, data):
        probabilities = torch.nn.functional.softmax(data, dim=1)
        confidence, classes = torch.max(probabilities, 1)
        return [
            {"label": self.mapping[str(c)], "score": p}
            for c, p in zip(classes.tolist(), confidence.tolist())
        ]
""",
    "index_to_name.json": '{"0": "cat", "1": "dog", "2": "hamster", "3": "猫"}\n',
    "README.md": """# Pets at Home

Our pets. To make the archive:

```bash
$ torch-model-archiver --model-name pets --version 1.0 --model-file model.py \\
    --serialized-file pets.pt --handler pet_handler.py --extra-files index_to_name.json
```
""",
    "config.properties": "inference_address=http://0.0.0.0:8080\nmax_request_size=30000000\n",
}

# A module with handle(), and a network of one's own beside it.
HANDLE = {
    "model_handler.py": '''
"""
ModelHandler defines a custom model handler.
"""
import io

import torch
from torch import nn
from torchvision import transforms
from PIL import Image

WIDTH = 8


def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))


class DigitNet(nn.Module):
    """Small, for digits."""

    def __init__(self, in_channels, num_classes=10):
        super().__init__()
        self.layers = nn.Sequential(block(in_channels, WIDTH), block(WIDTH, 2 * WIDTH))
        self.fc = nn.Linear(2 * WIDTH * 8 * 8, num_classes)

    def forward(self, x):
        x = self.layers(x)
        return self.fc(torch.flatten(x, 1))


class ModelHandler(object):
    """
    A custom model handler implementation.
    """

    def __init__(self):
        self.initialized = False
        self.model = None

    def initialize(self, context):
        properties = context.system_properties
        self.manifest = context.manifest
        weights = properties.get("model_dir") + "/" + self.manifest["model"]["serializedFile"]
        self.model = DigitNet(1, 10)
        self.model.load_state_dict(torch.load(weights)["model_state_dict"])
        self.model.eval()
        self.initialized = True

    def handle(self, data, context):
        transform = transforms.Compose([
            transforms.Grayscale(),
            transforms.Resize((32, 32)),
            transforms.ToTensor(),
            transforms.Normalize((0.1307,), (0.3081,)),
        ])
        batch = torch.stack([transform(Image.open(io.BytesIO(row["body"]))) for row in data])
        with torch.no_grad():
            probabilities = torch.softmax(self.model(batch), dim=1)
        return [p.tolist() for p in probabilities]


_service = ModelHandler()


def handle(data, context):
    if not _service.initialized:
        _service.initialize(context)
    if data is None:
        return None
    return _service.handle(data, context)
''',
    "Makefile": """NAME := digits

archive:
\ttorch-model-archiver --model-name $(NAME) --version 1.0 --handler model_handler.py \\
\t\t--serialized-file checkpoints/last.ckpt -f
""",
}

# TorchServe's ImageClassifier with another image_processing, and the model file of the tutorial.
CLASSIFIER = {
    "mnist.py": """
import torch
from torch import nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, 1)
        self.conv2 = nn.Conv2d(8, 16, 3, 1)
        self.dropout1 = nn.Dropout2d(0.25)
        self.fc1 = nn.Linear(2304, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        output = F.log_softmax(x, dim=1)
        return output
""",
    "mnist_handler.py": '''
from torchvision import transforms
from ts.torch_handler.image_classifier import ImageClassifier


class MNISTDigitClassifier(ImageClassifier):
    """
    MNISTDigitClassifier handler class. The probability of each digit is its answer.
    """

    topk = 3
    image_processing = transforms.Compose([
        transforms.ToTensor(),
        transforms.Normalize((0.1307,), (0.3081,))
    ])
''',
    "docs/serving.md": """# Serving

    torch-model-archiver --model-name mnist --version 1.0 --model-file mnist.py \
      --serialized-file mnist_cnn.pt --handler mnist_handler.py && mv mnist.mar model_store/
""",
}

# A LightningModule whose network is a parameter, packed by a script in Python.
LIGHTNING = {
    "net.py": """
import timm
import torch
from torch import nn
import pytorch_lightning as pl
import torchmetrics


class WasteNet(pl.LightningModule):
    def __init__(self, model_name="mobilenetv3_small_050", num_classes=4, lr=1e-3):
        super().__init__()
        self.save_hyperparameters()
        self.backbone = timm.create_model(model_name, pretrained=False, num_classes=num_classes)
        self.criterion = nn.CrossEntropyLoss()
        self.accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=num_classes)

    def forward(self, x):
        return self.backbone(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = self.criterion(self(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
""",
    "waste_handler.py": """
import io

import torch
import torchvision.transforms as T
from net import WasteNet
from PIL import Image
from ts.torch_handler.base_handler import BaseHandler

LABELS = {0: "glass", 1: "metal", 2: "paper", 3: "plastic"}


class WasteHandler(BaseHandler):
    def initialize(self, ctx):
        path = ctx.system_properties["model_dir"] + "/epoch=12.ckpt"
        self.model = WasteNet.load_from_checkpoint(path, map_location="cpu")
        self.model.eval()
        self.transform = T.Compose([
            T.Resize((256, 256), interpolation=T.InterpolationMode.BICUBIC),
            T.CenterCrop(224),
            T.ToTensor(),
            T.Normalize([0.5] * 3, (0.25,) * 3),
        ])
        self.initialized = True

    def preprocess(self, requests):
        images = [r.get("body") or r.get("data") for r in requests]
        images = [Image.open(io.BytesIO(x)).convert("RGB") for x in images]
        return torch.stack([self.transform(x) for x in images])

    def postprocess(self, y):
        return [{"class": LABELS[i.item()]} for i in y.argmax(dim=1)]
""",
    "package.py": """
import subprocess

NAME = "waste"

subprocess.run(
    ["torch-model-archiver", "--model-name", NAME, '--version', "0.3", "--model-file", "net.py",
     "--serialized-file", "epoch=12.ckpt", "--handler", "waste_handler.py", "--force"],
    check=True,
)
""",
}

# A segmenter of torchvision with another last layer, and masks as PNG.
SEGMENTER = {
    "seg_handler.py": """
import base64
import io

import numpy as np
import torch
import torch.nn as nn
from PIL import Image
from torchvision import transforms
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large
from ts.torch_handler.base_handler import BaseHandler

CLASSES = ["background", "road", "車"]


class RoadHandler(BaseHandler):
    def initialize(self, ctx):
        model = deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None, aux_loss=True)
        model.classifier[4] = nn.Conv2d(256, len(CLASSES), kernel_size=1)
        model.aux_classifier[4] = nn.Conv2d(10, len(CLASSES), kernel_size=1)
        path = ctx.system_properties["model_dir"] + "/roads.pth"
        model.load_state_dict(torch.load(path, map_location="cpu")["model"])
        self.model = model.eval()
        self.transform = transforms.Compose([
            transforms.Resize(256),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ])
        self.initialized = True

    def handle(self, data, context):
        results = []
        for row in data:
            image = Image.open(io.BytesIO(row.get("data") or row.get("body"))).convert("RGB")
            with torch.no_grad():
                scores = self.model(self.transform(image).unsqueeze(0))["out"]
            size = image.size[::-1]
            scores = nn.functional.interpolate(scores, size, mode="bilinear", align_corners=False)
            mask = scores.argmax(dim=1)[0].numpy().astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(mask).save(buffer, format="PNG")
            results.append({"mask": base64.b64encode(buffer.getvalue()).decode()})
        return results
""",
    "run.sh": """torch-model-archiver --model-name roads --version 1.0 \\
  --serialized-file roads.pth --handler seg_handler.py
""",
}

# Several classes for an image: a sigmoid and a threshold.
TAGGER = {
    "tag_handler.py": """
import io

import torch
from PIL import Image
from torchvision import models, transforms
from ts.torch_handler.base_handler import BaseHandler

TAGS = ["beach", "people", "sunset"]
THRESHOLD = 0.3


class TagHandler(BaseHandler):
    def initialize(self, ctx):
        self.model = models.resnet18(num_classes=len(TAGS))
        path = ctx.system_properties["model_dir"] + "/tags.pth"
        self.model.load_state_dict(torch.load(path, map_location="cpu"))
        self.model.eval()
        self.transform = transforms.Compose([
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ])
        self.initialized = True

    def preprocess(self, data):
        images = [Image.open(io.BytesIO(row.get("data") or row.get("body"))) for row in data]
        return torch.stack([self.transform(image.convert("RGB")) for image in images])

    def inference(self, images):
        with torch.no_grad():
            return torch.sigmoid(self.model(images))

    def postprocess(self, probabilities):
        return [
            {TAGS[i]: p for i, p in enumerate(row) if p > THRESHOLD}
            for row in probabilities.tolist()
        ]
""",
    "run.sh": """torch-model-archiver --model-name tags --version 1.0 \\
  --serialized-file tags.pth --handler tag_handler.py
""",
}

# An app of Flask whose numbers stand in a module beside it, with a loss that is a module as well.
FLASK = {
    "app.py": """
import io

import torch
import torchvision.transforms as T
from flask import Flask, jsonify, request
from PIL import Image

from settings import LABELS, Images
from zoo import LeafNet, SmoothLoss

app = Flask(__name__)
criterion = SmoothLoss()
net = LeafNet(len(LABELS))
net.load_state_dict(torch.load("leaves.pth", map_location="cpu"))
net.eval()


def to_tensor(image, mean=Images.mean):
    size = (Images.size, Images.size)
    steps = T.Compose([T.Resize(size), T.ToTensor(), T.Normalize(mean, Images.STD)])
    return steps(image).unsqueeze(0)


@app.route("/predict", methods=["POST"])
def predict():
    image = Image.open(io.BytesIO(request.files["file"].read())).convert("RGB")
    probabilities = torch.softmax(net(to_tensor(image)), dim=1)[0]
    return jsonify(dict(zip(LABELS, probabilities.tolist())))
""",
    "settings.py": """
import numpy as np

LABELS = ["oak", "elm", "ash"]


class Images:
    size: int = 48
    mean = [x / 255 for x in (125.3, 123.0, 113.9)]
    STD = np.array([63.0, 62.1, 66.7]) / 255.0
""",
    "zoo.py": """
import timm
from einops import rearrange
from torch import nn

from parts import Base, convolution


class SmoothLoss(nn.Module):
    def forward(self, scores, targets):
        return nn.functional.cross_entropy(scores, targets, label_smoothing=0.1)


class LeafNet(Base):
    def __init__(self, classes):
        super().__init__()
        self.features = convolution(16)
        self.fc = nn.Linear(16, classes)

    def forward(self, x):
        return self.fc(self.features(x).mean(dim=(2, 3)))
""",
    "parts.py": """
from torch import nn


class Base(nn.Module):
    def count(self):
        return sum(p.numel() for p in self.parameters())


def convolution(width, channels=3):
    return nn.Conv2d(channels, width, 3, stride=2)
""",
    "requirements.txt": "flask\ntorch\neinops==0.8.0\ngunicorn\n",
}

# OpenCV's images, blue first; JSON; a crop; two passes; a class for what is not sure.
OPENCV = {
    "cam_handler.py": """
import base64
import json

import cv2
import numpy as np
import torch
from torchvision import models
from ts.torch_handler.base_handler import BaseHandler

NAMES = ["belt", "bag"]
MEAN = np.array([103.53, 116.28, 123.675], dtype=np.float32)


class Camera(BaseHandler):
    def initialize(self, ctx):
        self.model = models.resnet18(pretrained=True)
        self.model.fc = torch.nn.Linear(512, len(NAMES))
        path = ctx.system_properties["model_dir"] + "/camera.pth"
        self.model.load_state_dict(torch.load(path, map_location="cpu"))
        self.model.eval()
        self.initialized = True

    def preprocess(self, data):
        batch = []
        for row in data:
            request = json.loads(row["body"])
            image = cv2.imdecode(np.frombuffer(base64.b64decode(request["jpg"]), np.uint8), 1)
            image = image[20:-20, 40:-40]
            image = cv2.resize(image, (160, 160)).astype(np.float32)
            batch.append(((image - MEAN) / (57.375, 57.12, 58.395)).transpose(2, 0, 1))
        return torch.from_numpy(np.stack(batch))

    def inference(self, x):
        with torch.no_grad():
            return (self.model(x) + self.model(torch.flip(x, dims=[3]))) / 2

    def postprocess(self, scores):
        best = torch.softmax(scores, dim=1).max(dim=1)
        pairs = zip(best.values.tolist(), best.indices.tolist())
        return [NAMES[i] if p > 0.8 else "unknown" for p, i in pairs]
""",
    "run.sh": """torch-model-archiver --model-name camera --version 1.0 \\
  --serialized-file camera.pth --handler cam_handler.py
""",
}
