"""For grayscale digits, as TorchServe's own MNIST example: image_classifier with its transforms."""

from images import transform
from ts.torch_handler.image_classifier import ImageClassifier


class DigitClassifier(ImageClassifier):
    """Predicts the digit."""

    image_processing = transform

    def postprocess(self, data):
        """Return the best class of each image."""
        return data.argmax(1).tolist()
