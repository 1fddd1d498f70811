"""A handler as the tutorials write them."""

import io

import torch
from images import MODE, transform
from PIL import Image
from ts.torch_handler.base_handler import BaseHandler


class ModelHandler(BaseHandler):
    """Classifies images."""

    def preprocess(self, requests):
        """Decode and transform each image."""
        images = []
        for row in requests:
            data = row.get("data") or row.get("body")
            image = Image.open(io.BytesIO(data)).convert(MODE)
            images.append(transform(image).unsqueeze(0))
        return torch.cat(images).to(self.device)

    def inference(self, images):
        """Return probabilities."""
        with torch.no_grad():
            return torch.nn.functional.softmax(self.model(images), dim=1)

    def postprocess(self, probabilities):
        """Return the best class of each image."""
        predictions = []
        for row in probabilities:
            probability, index = torch.max(row, dim=0)
            predictions.append({"index": index.item(), "probability": probability.item()})
        return predictions
