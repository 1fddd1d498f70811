"""For grayscale digits, as TorchServe's own MNIST example: image_classifier with its transforms."""

from pictures import transform
from ts.torch_handler.image_classifier import ImageClassifier


class DigitClassifier(ImageClassifier):
    """Answers with the digit."""

    image_processing = transform

    def postprocess(self, data):
        """Return the best class of each picture."""
        return data.argmax(1).tolist()
