"""What others would have written: each a process that is told folders and says how long it took.

    python -m benchmarks.speed.opponents NAME

It says `{"ready": true}` on stdout, then answers each line `{"source": DIR, "target": DIR}` on stdin with one
of figures. Loading is not counted for any of them.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "digits"
CHUNK = 256

Read = Callable[[Path, Path], int]


def main(name: str) -> int:
    """Serve requests until stdin ends."""
    read = {"naive": naive, "offline": offline, "lean": lean}[name]()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        before = resource.getrusage(resource.RUSAGE_SELF)
        started_s = time.perf_counter()
        files = read(Path(asked["source"]), Path(asked["target"]))
        seconds = time.perf_counter() - started_s
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        figures = {"files": files, "seconds": seconds, "cpu_s": cpu_s, "peak_mib": after.ru_maxrss / 1024}
        print(json.dumps(figures), flush=True)
    return 0


def naive() -> Read:
    """As the usual tutorial does: one file at a time through `model.predict`."""
    import cv2

    model = _keras_model()

    def read(source: Path, target: Path) -> int:
        count = 0
        for name in sorted(os.listdir(source)):
            page = cv2.imread(str(source / name), cv2.IMREAD_GRAYSCALE)
            if page is None:
                raise ValueError(f"{name} is no picture")
            tile = 1.0 - np.asarray(cv2.resize(page, (28, 28)), np.float32) / 255
            probabilities = model.predict(tile.reshape(1, 28, 28, 1), verbose=0)
            print(f"{name}: {int(np.argmax(probabilities[0, :10]))}", file=sys.stderr)
            count += 1
        return count

    return read


def lean() -> Read:
    """tf.data from listing to batches, a plain resize, the same model, JSON alone: less work than ours."""
    model = _keras_model()
    import tensorflow as tf

    def load(path: Any) -> Any:
        page = tf.io.decode_image(tf.io.read_file(path), channels=1, expand_animations=False)
        return 1.0 - tf.image.resize(page, (28, 28)) / 255.0, path

    classify = tf.function(
        lambda tiles: tf.nn.softmax(model(tiles, training=False)),
        input_signature=[tf.TensorSpec((None, 28, 28, 1), tf.float32)],
    )

    def read(source: Path, target: Path) -> int:
        target.mkdir(parents=True)
        count = 0
        names = tf.data.Dataset.list_files(f"{source}/*", shuffle=False)
        batches = names.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(CHUNK).prefetch(2)
        for tiles, paths in batches:
            rows = classify(tiles).numpy()
            for row, path in zip(rows, paths.numpy(), strict=True):
                name = os.path.basename(path.decode())
                digit = int(row[:10].argmax())
                record = {
                    "name": name,
                    "digit": digit,
                    "probabilities": [round(float(p), 4) for p in row[:10]],
                }
                (target / f"{name}.json").write_text(json.dumps(record))
            count += len(rows)
        return count

    return read


def offline() -> Read:
    """What an expert would write to do the same work once.

    Threads, one traced call for 256 tiles, the same tiles, pictures and JSON files; no watching, no checks,
    no durability, nothing moved.
    Three chunks are on their way at any time: one is decoded and cut, one is classified, one is drawn.
    """
    model = _keras_model()
    import cv2
    import tensorflow as tf

    from worker.vision.annotation import Label, annotated_file
    from worker.vision.normalization import normalize
    from worker.vision.page import Page
    from worker.vision.segmentation import find_marks

    classify = tf.function(lambda tiles: tf.nn.softmax(model(tiles, training=False)))
    classify = classify.get_concrete_function(tf.TensorSpec((CHUNK, 28, 28, 1), tf.float32))
    cv2.setNumThreads(1)
    pools = {count: ThreadPoolExecutor(count) for count in (1, len(os.sched_getaffinity(0)))}
    forward = ThreadPoolExecutor(1)

    def see(path: str) -> tuple[Any, Any, bool]:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        page = Page(np.asarray(grey, np.uint8))
        marks = [(normalize(mark.ink), mark.box) for mark in find_marks(page)]
        return page, marks, data[:2] == b"\xff\xd8"

    def put_out(name: str, target: str, seen: tuple[Any, Any, bool], rows: npt.NDArray[np.float32]) -> None:
        page, marks, is_jpeg = seen
        digits = []
        labels = []
        for (_, box), row in zip(marks, rows, strict=True):
            digit = int(row[:10].argmax())
            confidence = float(row[digit])
            labels.append(Label(box, f"{digit} {min(confidence * 100, 99.9):.1f} %", confidence > 0.95))
            digits.append(
                {
                    "digit": digit,
                    "confidence": round(confidence, 4),
                    "accepted": confidence > 0.95,
                    "probabilities": np.round(row[:10].astype(np.float64), 4).tolist(),
                    "box": {"x": box.x, "y": box.y, "width": box.width, "height": box.height},
                }
            )
        text = "".join(str(digit["digit"]) for digit in digits)
        data, ending = annotated_file(page, labels, f"read: {text}", is_accepted=True, page_was_jpeg=is_jpeg)
        record = {"status": "read", "text": text, "digits": digits, "source": {"name": name}}
        put_files(
            [
                (f"{target}/{name}.annotated{ending}", data),
                (f"{target}/{name}.json", json.dumps(record).encode()),
            ]
        )

    def classified(seen: list[tuple[Any, Any, bool]]) -> npt.NDArray[np.float32]:
        tiles = [tile for _, marks, _ in seen for tile, _ in marks]
        found = [np.zeros((0, 13), np.float32)]
        for start in range(0, len(tiles), CHUNK):
            part = tiles[start : start + CHUNK]
            full = np.zeros((CHUNK, 28, 28, 1), np.float32)
            full[: len(part), :, :, 0] = part
            found.append(classify(tf.constant(full)).numpy()[: len(part)])
        return np.concatenate(found)

    def spread(work: Callable[..., Any], items: list[Any], threads: int) -> list[Future[list[Any]]]:
        pool = pools[threads]
        step = max(1, -(-len(items) // (4 * threads)))
        parts = [items[start : start + step] for start in range(0, len(items), step)]
        return [pool.submit(do_all, work, part) for part in parts]

    def read(source: Path, target: Path) -> int:
        target.mkdir(parents=True)
        names = sorted(os.listdir(source))
        size = CHUNK if len(names) > 1000 else 32
        # Two threads that pass the interpreter to and fro in every call of OpenCV are slower than one where calls
        # are short: with tiles throughout, with scans when they are drawn.
        size_bytes = os.path.getsize(source / names[0])
        to_see, to_draw = (max(pools) if size_bytes > least else 1 for least in (4_000, 120_000))
        chunks = [names[start : start + size] for start in range(0, len(names), size)]
        seeing = spread(see, [(f"{source}/{name}",) for name in chunks[0]], to_see)
        drawing: list[Future[list[Any]]] = []
        for index, chunk in enumerate(chunks):
            seen = gathered(seeing)
            rows = forward.submit(classified, seen)
            if index + 1 < len(chunks):
                seeing = spread(see, [(f"{source}/{name}",) for name in chunks[index + 1]], to_see)
            own = iter(rows.result())
            work = [
                (name, str(target), one, np.array([next(own) for _ in one[1]]).reshape(-1, 13))
                for name, one in zip(chunk, seen, strict=True)
            ]
            gathered(drawing)
            drawing = spread(put_out, work, to_draw)
        gathered(drawing)
        return len(names)

    return read


def do_all(work: Callable[..., Any], part: list[Any]) -> list[Any]:
    """`work` for each of a part."""
    return [work(*each) for each in part]


def gathered(futures: Iterable[Future[list[Any]]]) -> list[Any]:
    """The results of all parts, in order."""
    return [each for future in futures for each in future.result()]


def put_files(contents: Iterable[tuple[str, bytes]]) -> None:
    """Write files, as cheaply as can be."""
    for path, content in contents:
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(descriptor, content)
        os.close(descriptor)


def _keras_model() -> Any:
    """The shipped model, loaded as anybody would; two threads for its arithmetic."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import keras

    return keras.saving.load_model(MODEL / "model.keras", compile=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
