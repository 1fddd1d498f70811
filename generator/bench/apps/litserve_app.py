"""LitServe: a worker for each core, batches of 8 as the rendered projects have them."""

import os
import sys

import litserve
from common import classify, load, read


class Classifier(litserve.LitAPI):
    """Takes a form with a file, as LitServe's image examples do."""

    def setup(self, device):
        """Load the network, in each worker."""
        self.network = load()

    def decode_request(self, request):
        """Read the file of the form."""
        return read(request["file"].file.read())

    def batch(self, inputs):
        """Leave the list as it is."""
        return list(inputs)

    def predict(self, images):
        """Classify a batch."""
        return classify(self.network, images)

    def unbatch(self, output):
        """Leave the list as it is."""
        return output

    def encode_response(self, output):
        """Leave the prediction as it is."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Classifier(max_batch_size=8, batch_timeout=0.001),
        accelerator="cpu",
        workers_per_device=os.cpu_count(),
    )
    port = int(sys.argv[1])
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)
