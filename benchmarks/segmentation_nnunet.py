"""nnU-Net v2 as it is, driven step by step: this file is run by the Python of nnU-Net's own environment.

    $NNUNET_PYTHON -m benchmarks.segmentation_nnunet step | train | untrained | predict

segmentation_peer.py asks it.
Nothing of medcnn is imported here. nnU-Net finds its folders by nnUNet_raw, nnUNet_preprocessed, nnUNet_results. With
nnUNet_n_proc_DA=0 it loads and augments in the process that trains, so that process time is all that a step costs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as Whole

from benchmarks.segmentation_peer import CONFIGURATION, DATASET, FOLD, PLANS


class nnUNetTrainer(Whole):  # type: ignore[misc]  # noqa: N801  its checkpoints name their class, which predicting looks up
    """Its own schedule, compressed into `steps`; a row of times for every epoch, and the weights of some kept."""

    steps, epochs = 360, 24
    step_cpu_s = step_wall_s = 0.0

    def __init__(
        self, plans: dict[str, Any], configuration: str, fold: int, dataset_json: dict[str, Any], device: torch.device
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)  # it looks up these very names
        self.num_epochs, self.num_iterations_per_epoch = self.epochs, self.steps // self.epochs
        self.num_val_iterations_per_epoch, self.save_every = 1, 1  # one, since its log wants a number
        self.clock = (time.perf_counter(), time.process_time())

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Its step, timed: what is left of the epoch is loading, augmenting, validating and saving."""
        wall, cpu = time.perf_counter(), time.process_time()
        result: dict[str, Any] = super().train_step(batch)
        self.step_wall_s += time.perf_counter() - wall
        self.step_cpu_s += time.process_time() - cpu
        return result

    def on_epoch_start(self) -> None:
        """The clocks of this epoch."""
        super().on_epoch_start()
        self.clock, self.step_cpu_s, self.step_wall_s = (time.perf_counter(), time.process_time()), 0.0, 0.0

    def on_epoch_end(self) -> None:
        """Note the times; keep the weights where a part of the training ends."""
        taken = [time.perf_counter() - self.clock[0], time.process_time() - self.clock[1]]
        super().on_epoch_end()
        folder = Path(self.output_folder)
        row = {"epoch": self.current_epoch, "steps": self.current_epoch * self.num_iterations_per_epoch}
        row |= {"wall_s": taken[0], "cpu_s": taken[1], "step_wall_s": self.step_wall_s, "step_cpu_s": self.step_cpu_s}
        with (folder / "epochs.jsonl").open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        part = 100 * self.current_epoch // self.num_epochs
        if part % 25 == 0:
            self.save_checkpoint(str(folder / f"checkpoint_{part}.pth"))

    def plot_network_architecture(self) -> None:
        """No picture."""


def _folder(name: str) -> Path:
    return Path(os.environ[f"nnUNet_{name}"]) / DATASET


def trainer(device: str = "cpu", *, resumed: bool = False) -> nnUNetTrainer:
    """As nnUNetv2_train makes it."""
    folder = _folder("preprocessed")
    plans = json.loads((folder / f"{PLANS}.json").read_text()) | {"continue_training": resumed}
    about = json.loads((folder / "dataset.json").read_text())
    made = nnUNetTrainer(plans, CONFIGURATION, FOLD, about, torch.device(device))
    latest = Path(made.output_folder) / "checkpoint_latest.pth"
    if resumed and latest.is_file():
        made.load_checkpoint(str(latest))
    return made


def train(steps: int, device: str) -> None:
    """Goes on where an earlier call was cut off."""
    whole = [epochs for epochs in range(4, 25, 4) if steps % epochs == 0]  # quarters of whole epochs
    if not whole:
        sys.exit(f"steps={steps}: must be a multiple of 4")
    nnUNetTrainer.steps, nnUNetTrainer.epochs = steps, max(whole)
    results = _folder("results")
    made = trainer(device, resumed=any(results.glob("*/*/checkpoint_latest.pth")))
    made.run_training()


def untrained() -> None:
    """A folder to predict from, where the time matters and the masks do not."""
    made = trainer()
    made.initialize()
    made.configure_rotation_dummyDA_mirroring_and_inital_patch_size()  # sets what its checkpoint says of mirroring
    for name, content in (("plans", made.plans_manager.plans), ("dataset", made.dataset_json)):
        (Path(made.output_folder_base) / f"{name}.json").write_text(json.dumps(content))
    made.save_checkpoint(str(Path(made.output_folder) / "checkpoint_final.pth"))


def answer_steps(answers: TextIO) -> None:
    """A line 'bare' or 'whole' on standard input -> a step of the training, its seconds (wall, processor) as a line.

    bare   its train_step on a batch that is ready
    whole  loading and augmenting the batch too
    """
    made = trainer()
    made.disable_checkpointing = True
    made.on_train_start()
    made.network.train()
    batch = next(made.dataloader_train)
    parameters = sum(weights.numel() for weights in made.network.parameters())
    shape = list(batch["data"].shape)
    print(json.dumps({"parameters": parameters, "batch": shape}), file=answers, flush=True)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        made.train_step(next(made.dataloader_train) if line.strip() == "whole" else batch)
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), file=answers, flush=True)


def predict(source: Path, output: Path, checkpoint: str, *, mirroring: bool) -> None:
    """Masks of every image of a folder, in their own grids."""
    predictor = nnUNetPredictor(
        use_mirroring=mirroring, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
    )
    folder = _folder("results") / f"nnUNetTrainer__{PLANS}__{CONFIGURATION}"
    predictor.initialize_from_trained_model_folder(str(folder), use_folds=(FOLD,), checkpoint_name=checkpoint)
    output.mkdir(parents=True, exist_ok=True)
    predictor.predict_from_files_sequential(str(source), str(output), save_probabilities=False, overwrite=True)


def main() -> None:
    """See the docstring above."""
    verb, *words = sys.argv[1:]
    asked = dict(word.split("=", 1) for word in words)
    torch.set_num_threads(int(asked.get("threads", "2")))
    if verb == "step":
        answers, sys.stdout = sys.stdout, sys.stderr  # nnU-Net prints; only answers go out
        answer_steps(answers)
    elif verb == "train":
        train(int(asked["steps"]), asked.get("device", "cpu"))
    elif verb == "untrained":
        untrained()
    else:
        source, output = Path(asked["input"]), Path(asked["output"])
        predict(source, output, asked["checkpoint"], mirroring=asked["mirroring"] == "yes")


if __name__ == "__main__":
    main()
