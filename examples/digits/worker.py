"""Recognises handwritten digits. Each worker trains the same model when it starts, which
takes a moment; a larger model would be loaded from a file here."""

from pyproc_worker import expose, run_worker
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

digits = load_digits()
train_images, test_images, train_labels, test_labels = train_test_split(
    digits.data, digits.target, test_size=0.5, random_state=0
)
model = SVC(gamma=0.001).fit(train_images, train_labels)


@expose
def test_set():
    """The images that the model has not seen, and their labels."""
    return {"images": test_images, "labels": test_labels}


@expose
def classify(images):
    """The digit in each of the images."""
    return model.predict(images)


if __name__ == "__main__":
    run_worker()
