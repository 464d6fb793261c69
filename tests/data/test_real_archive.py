"""PneumoniaMNIST as published: its split, and the copies between its parts, which the publisher's set has."""

from __future__ import annotations

from pathlib import Path

import pytest

from medcnn.config.compose import CommandLine, checked
from medcnn.data.cache import Cache
from medcnn.data.dataset import Dataset, open_dataset, prepare_dataset, without_leaks
from medcnn.data.prepared import Prepared
from medcnn.data.privacy import Keyring
from medcnn.errors import LeakageError
from medcnn.io.options import Reading
from medcnn.transforms.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def pneumonia(medcnn_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Prepared]:
    folder = tmp_path_factory.mktemp("pneumonia")
    words = ["+task=xray_cls", "data=pneumoniamnist", f"data.root={medcnn_data / 'pneumoniamnist'}"]
    conf = checked("train", CommandLine.of("train", words))
    dataset = open_dataset(conf.data, Keyring.at(folder / "key"), splits=True)
    preprocessing = Preprocessing.of(conf.transforms, reading=Reading(), num_channels=1)
    cache = Cache(folder / "cache")
    return dataset, prepare_dataset(dataset, conf.data, preprocessing, cache, report=lambda done, total: None)


def test_the_published_parts_are_kept_and_a_tenth_of_train_calibrates(pneumonia: tuple[Dataset, Prepared]) -> None:
    counts = pneumonia[0].counts()
    assert counts["val"] == {"normal": 135, "pneumonia": 389}
    assert {name: counts["train"][name] + counts["calib"][name] for name in counts["train"]} == {
        "normal": 1214,
        "pneumonia": 3494,
    }
    assert counts["calib"] == {"normal": 121, "pneumonia": 349}


def test_pictures_are_the_archives_own_values_from_minus_one_to_one(pneumonia: tuple[Dataset, Prepared]) -> None:
    image = pneumonia[1].images[list(range(200))]
    assert image.shape == (200, 1, 28, 28)
    assert image.min() >= -1
    assert image.max() <= 1


def test_copies_of_validation_pictures_stop_or_leave_train(pneumonia: tuple[Dataset, Prepared]) -> None:
    prepared = pneumonia[1]
    with pytest.raises(LeakageError, match="identical pixels"):
        without_leaks(prepared, "stop")
    kept, dropped = without_leaks(prepared, "drop_from_train")
    assert len(kept.of_split("val")) == 524
    assert dropped >= 8  # eight validation pictures have ten copies in the published train part
    assert len(kept) == len(prepared) - dropped
