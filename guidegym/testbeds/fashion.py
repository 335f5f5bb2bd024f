"""The ``fashion`` testbed: Fashion-MNIST with networks trained by this package's own recipes."""

from guidegym.diffusion import VPProcess
from guidegym.testbeds.fashion_data import load_fashion_mnist
from guidegym.testbeds.images import ImageSet

FASHION = ImageSet(
    name="fashion",
    class_names=(
        "T-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
    event_shape=(1, 28, 28),
    process=VPProcess("cosine"),
    load=load_fashion_mnist,
)
