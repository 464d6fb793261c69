"""Where a classifier looked, whether to believe it, and what its layers see: maps, curves, filters, feature maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from medcnn.reporting.figures import INK, QUIET, Drawn, Row, blank, colour, legend, name, quiet_axes
from medcnn.reporting.image_figures import display_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Image = npt.NDArray[np.floating]

_TILE_IN = 1.05  # side of one filter or feature map
_NO_MAP = "An explanation shows what the answer was sensitive to, not why, and outlines no disease."


class Curve(Protocol):
    """share (n,) of pixels from 0 to 1, score (n,) with so many deleted or inserted."""

    @property
    def share(self) -> Image: ...
    @property
    def score(self) -> Image: ...
    @property
    def area(self) -> float: ...


class Curves(Protocol):
    """Of one way to explain, and of random maps."""

    @property
    def deletion(self) -> Curve: ...
    @property
    def insertion(self) -> Curve: ...
    @property
    def random_deletion(self) -> Curve: ...
    @property
    def random_insertion(self) -> Curve: ...


class Stage(Protocol):
    """A network with its last `layers` shuffled, down to the one of this name; how alike its map is still."""

    @property
    def layers(self) -> int: ...
    @property
    def down_to(self) -> str: ...
    @property
    def rank_correlation(self) -> float: ...
    @property
    def ssim(self) -> float: ...


class Tiles(Protocol):
    """planes (k, h, w) of a layer, those with these indices of `count`; size of its kernels or maps, all axes."""

    @property
    def layer(self) -> str: ...
    @property
    def planes(self) -> Image: ...
    @property
    def indices(self) -> Sequence[int]: ...
    @property
    def count(self) -> int: ...
    @property
    def size(self) -> Sequence[int]: ...


def explanations_figure(image: Image, maps: Mapping[str, Image], *, case_id: str, text: str = "") -> Drawn:
    """One case (H, W) beside itself under each map (H, W) from 0 to 1; case_id is the keyed one."""
    title, caption = "Where the network looked", f"{case_id}. {_NO_MAP}"
    figure = blank(width_in=max(4.8, 2.4 * (1 + len(maps)) + 0.6), height_in=3.7)
    name(figure, title, caption)
    panels = figure.subplots(1, 1 + len(maps), squeeze=False)[0]
    low, high = display_range(image)
    rows: list[Row] = []
    for axes, (label, heat) in zip(panels, [(text or "scan", None), *maps.items()], strict=True):
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        _bare(axes, label)
        if heat is not None:
            alpha = 0.65 * np.clip(heat, 0, 1)
            drawn = axes.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=alpha, interpolation="nearest")
            rows.append(_peak(label, heat))
    if maps:
        bar = figure.colorbar(drawn, ax=list(panels), fraction=0.03, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=QUIET, labelsize=8.5, length=2)
        bar.set_label("share of the map's maximum", color=QUIET, fontsize=9)
    return Drawn(figure, title, rows, caption)


def faithfulness_figure(found: Mapping[str, Curves], *, num_cases: int, score: str = "probability") -> Drawn:
    """Deletion and insertion (Petsiuk et al. 2018) of each way to explain, dashed those of random maps.

    found  explainer -> its curves, means over the cases
    """
    title = "Does the answer follow the map?"
    caption = (
        f"{num_cases} cases. Left: the hottest pixels are greyed first; a map to be believed falls early and leaves a "
        f"small area. Right: they are put back into the blurred scan first; it rises early. Dashed: the same maps, "
        f"moved to random places."
    )
    figure = blank(width_in=10.4, height_in=4.8 + 0.22 * len(found))
    name(figure, title, caption)
    rows: list[Row] = []
    panels = figure.subplots(1, 2, sharey=True)
    for axes, kind, doing in zip(panels, ("deletion", "insertion"), ("deleted", "inserted"), strict=True):
        quiet_axes(axes)
        axes.set(xlabel=f"Share of pixels {doing}, hottest first", xlim=(0, 1), ylim=(0, 1))
        for index, (label, curves) in enumerate(found.items()):
            curve, moved = getattr(curves, kind), getattr(curves, f"random_{kind}")
            words = f"{label}: area {curve.area:.2f}, moved {moved.area:.2f}"
            axes.plot(curve.share, curve.score, color=colour(index), label=words, linewidth=2.0)
            axes.plot(moved.share, moved.score, color=colour(index), linewidth=1.2, linestyle="--")
            rows += _curve_rows(label, kind, curve, is_random=False) + _curve_rows(label, kind, moved, is_random=True)
        axes.set_title(kind.capitalize(), loc="left", fontsize=10.5, color=INK)
        legend(axes, loc="upper left", bbox_to_anchor=(0, -0.16), borderaxespad=0)  # below: curves fill the plot
    panels[0].set_ylabel(f"Mean {score} of the class explained")
    return Drawn(figure, title, rows, caption)


def sanity_figure(found: Mapping[str, Sequence[Stage]], *, num_cases: int) -> Drawn:
    """Cascading randomisation (Adebayo et al. 2018): explainer -> how alike its maps stay."""
    title = "Does the map depend on what was learnt?"
    caption = (
        f"{num_cases} cases. The weights are shuffled from the last layer towards the first; 1 is still the same map. "
        f"A map that stays high to the right would be drawn of any network."
    )
    figure = blank(width_in=9.2, height_in=4.7)
    name(figure, title, caption)
    rows: list[Row] = []
    panels = figure.subplots(1, 2)
    for axes, key, label in zip(
        panels,
        ("rank_correlation", "ssim"),
        ("Rank correlation (Spearman)", "Structural similarity (SSIM)"),
        strict=True,
    ):
        quiet_axes(axes)
        axes.set(xlabel="Layers shuffled, from the last one", ylabel=label)
        lowest = 0.0
        for index, (explainer, stages) in enumerate(found.items()):
            layers = [0, *(stage.layers for stage in stages)]
            alike = [1.0, *(float(getattr(stage, key)) for stage in stages)]
            axes.plot(layers, alike, color=colour(index), marker="o", markersize=4, linewidth=1.8, label=explainer)
            lowest = min(lowest, *alike)
        axes.set_ylim(lowest - 0.05, 1.05)
        axes.xaxis.get_major_locator().set_params(integer=True)
    legend(panels[0], loc="best")
    for explainer, stages in found.items():
        rows += [
            {
                "explainer": explainer,
                "layers_shuffled": stage.layers,
                "down_to": stage.down_to,
                "rank_correlation": stage.rank_correlation,
                "ssim": stage.ssim,
            }
            for stage in stages
        ]
    return Drawn(figure, title, rows, caption)


def filters_figure(filters: Tiles) -> Drawn:
    """The first layer's kernels, all on one scale: white adds, black takes away."""
    title = "What the first layer looks for"
    kernel = " x ".join(str(side) for side in filters.size)
    plane = "" if len(filters.size) == 2 else ", the middle plane of each"
    most = float(np.abs(filters.planes).max()) or 1.0
    shown = _shown(filters)
    caption = f"Layer {filters.layer}: {shown} filters of {kernel}{plane}; black -{most:.2g}, grey 0, white {most:.2g}"
    columns = min(len(filters.planes), max(4, int(np.ceil(np.sqrt(2 * len(filters.planes))))))
    lines = [filters.planes[start : start + columns] for start in range(0, len(filters.planes), columns)]
    return _tile_figure([("", line, (-most, most)) for line in lines], _tile_rows([filters]), title, caption)


def features_figure(layers: Sequence[Tiles], *, case_id: str) -> Drawn:
    """What each layer makes of one case: a line of its most active maps, each on its own scale."""
    title = "What the layers make of a case"
    caption = f"{case_id}. Each line a layer, its most active maps first, each from its lowest to its highest value."
    lines = [
        (f"{tiles.layer}\n{' x '.join(str(side) for side in tiles.size)}\n{_shown(tiles)} maps", tiles.planes, None)
        for tiles in layers
    ]
    return _tile_figure(lines, _tile_rows(layers), title, caption)


def _tile_figure(
    lines: Sequence[tuple[str, Image, tuple[float, float] | None]], rows: Sequence[Row], title: str, caption: str
) -> Drawn:
    """Lines of planes with a word at the left of each, and the range of grey or each plane's own."""
    if not lines:
        raise ValueError(f"{title}: there is no plane to draw")
    columns = max(len(planes) for _, planes, _ in lines)
    tallest = max(min(2.0, planes.shape[1] / planes.shape[2]) for _, planes, _ in lines)
    margin_in = 1.3 if any(word for word, _, _ in lines) else 0.0
    figure = blank(width_in=max(5.0, _TILE_IN * columns + margin_in), height_in=1.1 + len(lines) * _TILE_IN * tallest)
    name(figure, title, caption)
    grid = figure.subplots(len(lines), columns, squeeze=False)
    for (word, planes, scale), panels in zip(lines, grid, strict=True):
        for axes in panels[len(planes) :]:
            axes.set_axis_off()
        for plane, axes in zip(planes, panels, strict=False):
            low, high = scale or (float(plane.min()), float(max(plane.max(), plane.min() + 1e-6)))
            axes.imshow(plane, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            _bare(axes, "")
        panels[0].set_ylabel(word, rotation=0, ha="right", va="center", fontsize=8, color=INK)
    return Drawn(figure, title, rows, caption)


def _bare(axes: Axes, label: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_xlabel(label, fontsize=9, color=INK, labelpad=4)


def _shown(tiles: Tiles) -> str:
    return str(tiles.count) if len(tiles.indices) == tiles.count else f"{len(tiles.indices)} of {tiles.count}"


def _peak(explainer: str, heat: Image) -> Row:
    row, column = np.unravel_index(int(np.nanargmax(heat)), heat.shape)
    share = float(np.mean(heat >= 0.5))
    return {"explainer": explainer, "peak_row": row, "peak_column": column, "share_above_half": share}


def _curve_rows(explainer: str, kind: str, curve: Curve, *, is_random: bool) -> list[Row]:
    map_is = "random" if is_random else "explained"
    return [
        {"explainer": explainer, "curve": kind, "map": map_is, "share": share, "score": score, "area": curve.area}
        for share, score in zip(curve.share, curve.score, strict=True)
    ]


def _tile_rows(layers: Sequence[Tiles]) -> list[Row]:
    return [
        {"layer": tiles.layer, "index": index, "lowest": plane.min(), "highest": plane.max(), "mean": plane.mean()}
        for tiles in layers
        for index, plane in zip(tiles.indices, tiles.planes, strict=True)
    ]
