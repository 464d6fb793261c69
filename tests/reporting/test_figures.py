"""Every figure is a readable PNG with a CSV beside it that holds what is drawn."""

import csv
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.special import expit

from medcnn.evaluation.classification import evaluate_classification
from medcnn.reporting import figures
from medcnn.reporting.classification_figures import classification_figures
from medcnn.reporting.image_figures import (
    CasePicture,
    augmentation_figure,
    display_range,
    gallery_figure,
    montage_figure,
    saliency_figure,
)
from medcnn.reporting.learning_figure import learning_figure


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def save(drawn, folder, name="figure"):
    """Saved, and checked for what every figure must be."""
    saved = figures.save(drawn, folder, name)
    with Image.open(saved.png) as picture:
        assert picture.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        assert 600 <= picture.width <= 1800
        pixels = np.asarray(picture.convert("L"))
    assert len(np.unique(pixels)) > 20
    assert (pixels[:, [0, -1]] == 255).all(), "something is cut off at the sides"
    assert saved.title
    return saved, read(saved.csv)


@pytest.fixture(scope="module")
def evaluated():
    random = np.random.default_rng(0)
    truth = (random.random(120) < 0.4).astype(int)
    p = expit(random.normal(size=120) + 2 * truth - 1)
    probability = np.c_[1 - p, p]
    names = ["normal", "pneumonia"]
    result = evaluate_classification(probability, truth, kind="binary", class_names=names, num_resamples=100)
    return result, probability, truth


@pytest.fixture(scope="module")
def drawn(evaluated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    found = classification_figures(*evaluated, split="test")
    return {name: (one, *save(one, folder, name)) for name, one in found.items()}


def test_roc_csv_holds_the_curve_the_band_and_the_decision(evaluated, drawn):
    curve, (figure, _, rows) = evaluated[0].roc["pneumonia"], drawn["roc_test"]
    parts = {part: [row for row in rows if row["part"] == part] for part in ("curve", "band", "decision")}
    (line,) = [one for one in figure.figure.axes[0].lines if "AUROC" in str(one.get_label())]
    assert [float(row["true_positive_rate"]) for row in parts["curve"]] == line.get_ydata().tolist()
    assert [float(row["false_positive_rate"]) for row in parts["curve"]] == line.get_xdata().tolist()
    assert [float(row["low"]) for row in parts["band"]] == curve.band.low.tolist()
    assert float(parts["decision"][0]["true_positive_rate"]) == evaluated[0].estimates["sensitivity"].value


def test_legend_carries_the_interval_and_caption_the_number_of_cases(evaluated, drawn):
    figure, saved, _ = drawn["roc_test"]
    texts = [text.get_text() for text in figure.figure.axes[0].get_legend().get_texts()]
    assert any(str(evaluated[0].estimates["auroc"]) in text for text in texts)
    assert "n = 120 cases" in saved.caption


def test_precision_recall_csv_holds_the_drawn_curve(drawn):
    figure, _, rows = drawn["precision_recall_test"]
    line = figure.figure.axes[0].lines[0]
    curve = [row for row in rows if row["part"] == "curve"]
    assert [float(row["precision"]) for row in curve] == line.get_ydata().tolist()
    assert [float(row["recall"]) for row in curve] == line.get_xdata().tolist()


def test_confusion_csv_holds_the_matrix(evaluated, drawn):
    _, _, rows = drawn["confusion_test"]
    found = {(row["truth"], row["decision"]): int(row["cases"]) for row in rows}
    (tn, fp), (fn, tp) = evaluated[0].confusion.tolist()
    p, n = "pneumonia", "normal"
    assert found == {(n, n): tn, (n, p): fp, (p, n): fn, (p, p): tp}


def test_reliability_csv_holds_every_bin(evaluated, drawn):
    _, _, rows = drawn["reliability_test"]
    assert [int(row["cases"]) for row in rows] == evaluated[0].reliability["pneumonia"].count.tolist()


def test_score_csv_counts_every_case_once(evaluated, drawn):
    _, _, rows = drawn["scores_test"]
    counted = {name: sum(int(r["cases"]) for r in rows if r["cases_of"] == name) for name in ("normal", "pneumonia")}
    assert counted == {"normal": (evaluated[2] == 0).sum(), "pneumonia": (evaluated[2] == 1).sum()}


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_several_classes_have_a_curve_each(kind, tmp_path):
    random = np.random.default_rng(1)
    probability = random.dirichlet([1] * 5, 90)
    truth = random.integers(0, 5, 90) if kind == "multiclass" else (random.random((90, 5)) < 0.4).astype(float)
    names = ["none", "effusion", "a rather long finding", "nodule", "mass"]
    result = evaluate_classification(probability, truth, kind=kind, class_names=names, num_resamples=50)
    found = classification_figures(result, probability, truth, split="val")
    _, rows = save(found["roc_val"], tmp_path)
    assert {row["class"] for row in rows} == set(names)
    _, rows = save(found["confusion_val"], tmp_path)
    total = 90 if kind == "multiclass" else 5 * 90
    assert sum(int(row["cases"]) for row in rows) == total


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_single_class_can_still_be_drawn(tmp_path):
    probability, truth = np.array([[0.8, 0.2], [0.3, 0.7]]), np.array([0, 0])
    result = evaluate_classification(probability, truth, kind="binary", class_names=["no", "yes"], num_resamples=20)
    for name, one in classification_figures(result, probability, truth, split="test").items():
        figures.save(one, tmp_path, name)
    assert len(list(tmp_path.glob("*.png"))) == 5


def test_learning_curves_merge_rows_of_an_epoch_and_skip_what_is_missing(tmp_path):
    rows = [
        {"epoch": 0, "train/loss": 0.7},
        {"epoch": 0, "val/loss": 0.8, "val/auroc": 0.6},
        {"epoch": 1, "train/loss": 0.5, "val/loss": float("nan")},
    ]
    drawn = learning_figure(rows, best_epoch=1)
    _, found = save(drawn, tmp_path)
    assert [(row["epoch"], row["train/loss"], row["val/auroc"]) for row in found] == [
        ("0", "0.7", "0.6"),
        ("1", "0.5", ""),
    ]
    lines = {line.get_label(): list(line.get_ydata()) for line in drawn.figure.axes[0].lines}
    assert (lines["train"], lines["val"]) == ([0.7, 0.5], [0.8])


def test_learning_curves_of_no_epoch_are_an_empty_figure(tmp_path):
    assert figures.save(learning_figure([]), tmp_path, "empty").png.stat().st_size > 0


def images(n=6, shape=(12, 12)):
    return list(np.random.default_rng(0).normal(size=(n, *shape)))


def test_montage_shows_each_image_once_with_its_own_grey_scale(tmp_path):
    pictures = images(5)
    drawn = montage_figure(pictures, ["a", "b", "c", "d", "e"])
    _, rows = save(drawn, tmp_path)
    shown = [axes.images[0].get_array() for axes in drawn.figure.axes if axes.images]
    assert all((a == b).all() for a, b in zip(shown, pictures, strict=True))
    assert [row["text"] for row in rows] == ["a", "b", "c", "d", "e"]
    assert float(rows[0]["black"]) == pytest.approx(np.percentile(pictures[0], 1))


def test_images_of_different_sizes_and_a_single_one_can_be_shown(tmp_path):
    save(montage_figure([*images(1), *images(1, (8, 20))]), tmp_path)
    save(montage_figure(images(1)), tmp_path)


def test_augmentations_stand_beside_their_original_on_one_grey_scale(tmp_path):
    originals = images(2)
    drawn = augmentation_figure(originals, [[o + 1, o + 2, o + 3] for o in originals], value_range=(-3, 3))
    _, rows = save(drawn, tmp_path)
    assert [row["text"] for row in rows] == ["original", "draw 1", "draw 2", "draw 3"] * 2
    assert {(row["black"], row["white"]) for row in rows} == {("-3", "3")}


def test_gallery_names_cases_and_draws_heat_only_where_there_is_some(tmp_path):
    heat = np.zeros((12, 12))
    heat[3, 7] = 1
    cases = [CasePicture(a, f"c{i}", "truth yes", heat if i == 1 else None) for i, a in enumerate(images(3))]
    drawn = gallery_figure(cases)
    _, rows = save(drawn, tmp_path)
    assert [row["case_id"] for row in rows] == ["c0", "c1", "c2"]
    assert [len(axes.images) for axes in drawn.figure.axes] == [1, 2, 1]


def test_saliency_says_where_the_peak_is(tmp_path):
    heat = np.zeros((12, 12))
    heat[3, 7] = 0.9
    _, rows = save(saliency_figure(CasePicture(images(1)[0], "c0", "truth yes", heat)), tmp_path)
    assert (rows[0]["peak_row"], rows[0]["peak_column"], rows[0]["peak"]) == ("3", "7", "0.9")
    with pytest.raises(ValueError, match=r"CasePicture\.heat"):
        saliency_figure(CasePicture(images(1)[0], "c0"))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.full((4, 4), 7.0)])
def test_flat_and_empty_images_have_a_grey_scale(image):
    low, high = display_range(image)
    assert high > low


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="no image to draw"):
        montage_figure([])


def test_equal_figures_are_equal_files(evaluated, tmp_path):
    first, second = (
        figures.save(classification_figures(*evaluated, split="t")["confusion_t"], tmp_path, name) for name in "ab"
    )
    assert first.png.read_bytes() == second.png.read_bytes()


def test_csv_keeps_full_precision_and_defuses_formulas(tmp_path):
    path = tmp_path / "rows.csv"
    figures.write_rows([{"a": np.float64(1) / 3, "b": "=cmd()"}, {"c": np.int64(2)}], path)
    assert path.read_text() == "a,b,c\n0.3333333333333333,'=cmd(),\n,,2\n"


@pytest.mark.process
def test_drawing_touches_no_global_state_of_matplotlib():
    code = (
        "import sys; from medcnn.reporting import figures; assert 'matplotlib' not in sys.modules\n"
        "import matplotlib; before = matplotlib.rcParams.copy()\n"
        "figure, axes = figures.one_plot('t', 'c'); axes.plot([0, 1]); figure.canvas.draw()\n"
        "assert 'matplotlib.pyplot' not in sys.modules; assert matplotlib.rcParams.copy() == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
