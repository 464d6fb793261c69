"""COCO and YOLO: where a box ends up, to the pixel, and every box that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medcnn.data.boxes import Box, read_boxes
from medcnn.data.layouts.listing import Listing

Write = Callable[..., Path]
Read = Callable[..., Listing]
CLASSES = [{"id": 3, "name": "mass"}, {"id": 7, "name": "nodule"}]


def annotation(image: Any, category: Any, bbox: Any, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": bbox, **more}


@pytest.fixture
def coco(picture: Write, text: Write) -> Callable[..., None]:
    """Two pictures of 40 x 20."""

    def write(annotations: list[Any], name: str = "annotations/instances.json", **fields: Any) -> None:
        for n in range(2):
            picture(f"images/{n}.png")
        images = [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 20} for n in range(2)]
        text(name, {"images": images, "annotations": annotations, "categories": CLASSES, **fields})

    return write


def test_coco_boxes_are_a_corner_and_a_size(coco: Callable[..., None], listed: Read, junk: Callable[[], None]) -> None:
    coco([annotation(0, 7, [30, 2, 10, 18]), annotation(0, 3, [0.5, 0, 2.25, 1])])
    junk()
    found = listed()
    assert (found.kind, found.class_names, found.codes) == ("coco", ["mass", "nodule"], {"mass": (3,), "nodule": (7,)})
    assert [case.images[""] for case in found.cases] == ["images/0.png", "images/1.png"]
    assert read_boxes(found.cases[0].boxes) == [Box((30, 2, 40, 20), "nodule"), Box((0.5, 0, 2.75, 1), "mass")]
    assert found.cases[0].boxes.startswith('[{"box":[30,2,40,20],"class":"nodule"}')
    assert found.cases[1].boxes == "[]"  # looked for, and none there
    assert len(found.skipped) == 4


def test_coco_sizes_come_from_the_pictures_where_they_are_not_said(coco: Callable[..., None], refused: Any) -> None:
    images = [{"id": 0, "file_name": "0.png"}]
    coco([annotation(0, 3, [0, 0, 20, 40])], images=images)  # 20 x 40 would fit a picture on its side
    assert "the box ends 20 pixels outside the picture of 40 x 20" in refused()


def test_coco_sizes_that_are_not_the_pictures(coco: Callable[..., None], refused: Any) -> None:
    coco([], images=[{"id": 0, "file_name": "0.png", "width": 20, "height": 40}])
    assert "the annotations say 20 x 40 pixels, the picture has 40 x 20" in refused()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (annotation(0, 3, [1, 1, 0, 5]), "the box is empty or turned around (0 x 5 pixels)"),
        (annotation(0, 3, [5, 5, -2, 2]), "the box is empty or turned around"),
        (annotation(0, 3, [35, 0, 10, 5]), "the box ends 5 pixels outside the picture of 40 x 20"),
        (annotation(0, 3, [-3, 0, 10, 5]), "the box ends 3 pixels outside"),
        (annotation(0, 3, [0, 0, float("nan"), 5]), "empty or turned around"),
        (annotation(0, 3, [0, 0, 5]), "annotation 0: bbox is not [x, y, width, height]"),
        (annotation(0, 3, "0 0 5 5"), "bbox is not"),
        (annotation(0, 4, [0, 0, 5, 5]), "its category is not among the categories"),
        (annotation(9, 3, [0, 0, 5, 5]), "its image is not among the images"),
        ("text", "annotation 0: is no object"),
    ],
)
def test_coco_boxes_that_cannot_be(coco: Callable[..., None], refused: Any, wrong: Any, expected: str) -> None:
    coco([wrong])
    assert expected in refused()


def test_coco_rounding_is_set_to_the_edge_and_said(coco: Callable[..., None], listed: Read) -> None:
    coco([annotation(0, 3, [-0.004, 0, 10, 20.3]), annotation(1, 3, [0, 0, 1, 1], iscrowd=1)])
    found = listed()
    assert read_boxes(found.cases[0].boxes)[0].corners == (0, 0, 9.996, 20)
    assert any(line.startswith("1 boxes ended up to 0.5 pixel beyond the picture") for line in found.remarks)
    assert "1 annotations of crowds (iscrowd) were left out" in found.remarks


def test_coco_splits_by_the_names_of_its_files(picture: Write, text: Write, listed: Read) -> None:
    for part, n in (("train2017", 0), ("val2017", 1)):
        picture(f"{part}/{n}.png")
        images = [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 20}]
        text(f"annotations/instances_{part}.json", {"images": images, "annotations": [], "categories": CLASSES})
    cases = listed().cases
    assert [(case.images[""], case.split) for case in cases] == [("train2017/0.png", "train"), ("val2017/1.png", "val")]


def test_coco_keypoints_beside_the_instances_are_the_same_pictures(coco: Callable[..., None], listed: Read) -> None:
    coco([annotation(0, 3, [0, 0, 5, 5])], "annotations/instances_train.json")
    coco([annotation(0, 3, [1, 1, 5, 5])], "annotations/person_keypoints_train.json")
    found = listed()
    assert [case.boxes for case in found.cases] == ['[{"box":[0,0,5,5],"class":"mass"}]', "[]"]
    assert [item.reference for item in found.skipped] == ["annotations/person_keypoints_train.json"]


@pytest.mark.case("S04")
@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "../set/images/0.png", "gone.png", 7, ""])
def test_coco_pictures_that_are_not_below(coco: Callable[..., None], refused: Any, name: Any) -> None:
    coco([], images=[{"id": 0, "file_name": name, "width": 40, "height": 20}])
    said = refused()
    assert "instances.json, image 0" in said
    assert ("PATH_ESCAPE" in said) == (str(name).startswith((".", "/")))
    assert "secret" not in said


def test_coco_twice_the_same(coco: Callable[..., None], refused: Any) -> None:
    one = {"id": 0, "file_name": "0.png", "width": 40, "height": 20}
    coco([], images=[one, one, {**one, "id": 1}])
    said = refused()
    assert "image 1: has no id, or one that stands there twice" in said
    assert "1 pictures are named in more than one place" in said
    coco([], categories=[{"id": 1}, {"id": 2, "name": "a"}])
    assert "a category without a number `id` and a `name`" in refused()


def test_coco_without_pictures(coco: Callable[..., None], refused: Any) -> None:
    coco([], images=[])
    assert "no case was found" in refused()


# YOLO


@pytest.fixture
def yolo(picture: Write, text: Write) -> Callable[..., None]:
    """Pictures of 40 x 20 by name, with the lines of their label files; None writes none."""

    def write(pictures: dict[str, str | None], names: Any = "names: [mass, nodule]\n") -> None:
        if names:
            text("data.yaml", names)
        for name, lines in pictures.items():
            picture(f"{name}.png")
            if lines is not None:
                text(f"{name.replace('images', 'labels')}.txt", lines)

    return write


def test_yolo_boxes_are_a_centre_and_shares(yolo: Callable[..., None], listed: Read, junk: Callable[[], None]) -> None:
    yolo({"images/0": "1 0.5 0.25 0.25 0.5\n0 0.9 0.9 0.2 0.2\n", "images/1": "", "images/2": None})
    junk()
    found = listed()
    assert (found.kind, found.class_names, found.codes) == ("yolo", ["mass", "nodule"], {"mass": (0,), "nodule": (1,)})
    assert read_boxes(found.cases[0].boxes) == [Box((15, 0, 25, 10), "nodule"), Box((32, 16, 40, 20), "mass")]
    assert [case.boxes for case in found.cases[1:]] == ["[]", "[]"]
    assert "1 of them have no .txt, which means: nothing to find" in found.remarks
    assert [case.split for case in found.cases] == [""] * 3
    assert len(found.skipped) == 4


@pytest.mark.parametrize("pattern", ["images/{}/a", "{}/images/a"])
def test_yolo_splits_are_folders(yolo: Callable[..., None], listed: Read, pattern: str) -> None:
    yolo({pattern.format(part): "0 0.5 0.5 0.1 0.1" for part in ("train", "valid", "test")})
    assert sorted(case.split for case in listed().cases) == ["test", "train", "val"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("names: {0: a, 1: b}\n", ["a", "b"]),
        ("", ["0", "1"]),
        ("train: ../train/images\nnames: ['a', 'b']", ["a", "b"]),
    ],
)
def test_yolo_names(yolo: Callable[..., None], listed: Read, names: str, expected: list[str]) -> None:
    yolo({"images/0": "1 0.5 0.5 0.1 0.1"}, names)
    found = listed()
    assert found.class_names == expected
    assert read_boxes(found.cases[0].boxes)[0].name == expected[1]


@pytest.mark.parametrize(
    "names", ["names: {0: a, 2: b}", "names: 3", "names: [a, a]", "names: [", "a: !!python/object:os.x {}"]
)
def test_yolo_names_that_cannot_be(yolo: Callable[..., None], refused: Any, names: str) -> None:
    yolo({"images/0": "0 0.5 0.5 0.1 0.1"}, names)
    assert "data.yaml" in refused()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("5 0.5 0.5 0.1 0.1", "labels/0.txt, line 1: class 5, and there are 2 names, counted from 0"),
        ("0 0.5 0.5 0.1", "line 1: is not `class cx cy w h` (4 values)"),
        ("0 0.5 0.5 0.1 0.1 0.9", "is not `class cx cy w h` (6 values)"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.3 0.1 0.3", "is an outline, not a box (9 values)"),
        ("mass 0.5 0.5 0.1 0.1", "is not `class cx cy w h`"),
        ("0 nan 0.5 0.1 0.1", "is not `class cx cy w h`"),
        ("0 0.5 0.5 0 0.1", "the box is empty or turned around"),
        ("0 0.98 0.5 0.2 0.1", "the box ends 3.2 pixels outside the picture of 40 x 20"),
    ],
)
def test_yolo_lines_that_cannot_be(yolo: Callable[..., None], refused: Any, line: str, expected: str) -> None:
    yolo({"images/0": line})
    assert expected in refused()


def test_yolo_labels_without_a_picture(yolo: Callable[..., None], text: Write, refused: Any) -> None:
    yolo({"images/0": "0 0.5 0.5 0.1 0.1"})
    text("labels/9.txt", "0 0.5 0.5 0.1 0.1")
    assert "labels/9.txt: there is no picture of this name in images/" in refused()


@pytest.mark.case("S04")
def test_yolo_links_out(yolo: Callable[..., None], root: Path, refused: Any) -> None:
    yolo({"images/0": "0 0.5 0.5 0.1 0.1", "images/1": "0 0.5 0.5 0.1 0.1"})
    (root / "images" / "0.png").unlink()
    (root / "images" / "0.png").symlink_to(root.parent / "secret.png")
    (root / "labels" / "1.txt").unlink()
    (root / "labels" / "1.txt").symlink_to(root.parent / "secret.png")
    said = refused()
    assert "a picture: PATH_ESCAPE" in said
    assert "a label file: PATH_ESCAPE" in said
