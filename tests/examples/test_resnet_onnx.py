"""A text, a sound, a trained and a converted model, each through a real gunicorn."""

import base64
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from endpoint import uploads as inputs
from endpoint.decoders.image import decode_image
from endpoint.uploads import Upload
from tests.examples import tiny_more
from tests.examples.test_examples import JSON, PAGE, assert_alike, batches
from tests.support.images import make_image as picture
from tests.support.server import ROOT, SCRIPTS, Server

onnxruntime = pytest.importorskip("onnxruntime")
soundfile = pytest.importorskip("soundfile")
models = pytest.importorskip("torchvision.models")
pytest.importorskip("onnxscript")

BULLDOG = ROOT / "french_bulldog.jpg"


def serve(name: str, model: Path) -> Server:
    variables = {"ENDPOINT_MODULE": f"examples.{name}", "ENDPOINT_MODEL": model}
    return Server("gunicorn", OMP_NUM_THREADS=1, **variables).wait_for(200, 120)


def run(module: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run an example's script as one would by hand."""
    command = [sys.executable, "-m", f"examples.{module}", *map(str, arguments)]
    # Equal runs need equal sums, which several threads do not give.
    variables = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True
    )


def values(server: Server, *arguments: object) -> dict:
    return json.loads(server.curl(*JSON, *arguments))


def forms(files: list[Path]) -> list[str]:
    return [part for file in files for part in ("-F", f"file=@{file}")]


def assert_batch_equals_singles(server: Server, files: list[Path], path="/predict"):
    """Send files at once from several clients until some shared a batch."""
    singles = [values(server, *forms([file]), path) for file in files]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            ask = [pool.submit(values, server, *forms(files), path) for _ in range(4)]
            for several in (each.result()["predictions"] for each in ask):
                for one, other in zip(several, singles, strict=True):
                    one.pop("processing_time", other.pop("processing_time", None))
                    assert_alike(one, other)
            sent, calls = batches(server)
            if calls < sent:
                return
    pytest.fail("no two inputs ever shared a batch")


def status_of(server: Server, data: bytes, file: Path, *more: str) -> str:
    """Return the status with which a file is refused, sent as the body."""
    file.write_bytes(data)
    sent = ("--data-binary", f"@{file}", "-w", "%{http_code}", "-o", "/dev/null")
    return server.curl(*sent, *more, "/predict")


@pytest.fixture(scope="module")
def sentiment(tmp_path_factory):
    with serve(
        "sentiment", tiny_more.sentiment(tmp_path_factory.mktemp("s") / "m")
    ) as server:
        yield server


def test_text_is_judged_in_every_way_of_sending(sentiment, tmp_path):
    file = tmp_path / "text"
    for text, label in (("it is so good", "POSITIVE"), ("it is so bad", "NEGATIVE")):
        file.write_text(text)
        ways = [
            ("--json", json.dumps({"text": text})),
            ("-d", text),
            ("-H", "Content-Type: text/plain", "--data-binary", f"@{file}"),
            ("--data-urlencode", f"text={text}"),
            ("-F", f"text={text}"),
            ("-F", f"file=@{file}"),
            ("-T", file),
        ]
        for way in ways:
            answer = values(sentiment, *way, "/predict")
            assert (answer["label"], answer["confidence"] > 0.9) == (label, True), way
        assert sentiment.curl("-d", text, "/") == f"{label}\n"


def test_batch_of_texts_equals_single_texts(sentiment, tmp_path):
    texts = ["good", "it is so bad", "so " * 20 + "fine", "poor it is", "unheard of"]
    files = [tmp_path / f"{number}.txt" for number in range(len(texts))]
    for file, text in zip(files, texts):
        file.write_text(text)
    assert_batch_equals_singles(sentiment, files)


@pytest.mark.parametrize(
    "status, data",
    [("400", b""), ("400", b" \n"), ("413", b"so " * 1000), ("415", b"\xff\xfe")],
)
def test_what_is_no_text_is_refused(sentiment, tmp_path, status, data):
    assert status_of(sentiment, data, tmp_path / "bad") == status


def test_json_without_text_is_told_what_to_send(sentiment):
    for body in ('{"image": "a"}', '{"text": 5}', '{"text": ["a", "b"]}', "[", "{}"):
        answer = values(sentiment, "--json", body, "/predict")
        assert (answer["status"], '{"text": "..."}' in answer["detail"]) == (400, True)


def test_index_tells_how_to_send_a_text(sentiment):
    index = values(sentiment, "/")
    assert index["accepts"] == "text/plain" and '{"text": "..."}' in index["use"]
    assert "<form" in sentiment.curl(*PAGE, "/")


def sound(file: Path, pitch: float, seconds=1.0, rate=16_000, channels=1) -> Path:
    tone = tiny_more.tone(pitch, seconds, rate)[:, None].repeat(channels, 1)
    soundfile.write(file, tone, rate)
    return file


@pytest.fixture(scope="module")
def transcribe(tmp_path_factory):
    with serve(
        "transcribe", tiny_more.transcribe(tmp_path_factory.mktemp("t") / "m")
    ) as server:
        yield server


@pytest.mark.parametrize("kind", ("wav", "flac", "ogg"))
@pytest.mark.parametrize("rate", (8_000, 16_000, 44_100, 48_000))
def test_sound_of_any_rate_is_heard(transcribe, tmp_path, kind, rate):
    low = sound(tmp_path / f"low.{kind}", 220, rate=rate, channels=2)
    high = sound(tmp_path / f"high.{kind}", 2200, rate=rate)
    assert transcribe.curl(*forms([low, high]), "/predict") == "low\nhigh\n"


def test_sound_comes_as_a_file_as_the_body_or_in_json(transcribe, tmp_path):
    file, body = sound(tmp_path / "a.wav", 200), tmp_path / "body.json"
    text = base64.b64encode(file.read_bytes()).decode()
    body.write_text(json.dumps({"audio": text}))
    sent = [("-F", f"audio=@{file}"), ("-T", file), ("--json", f"@{body}")]
    for way in (*sent, ("--data-binary", f"@{file}")):
        assert values(transcribe, *way, "/predict") == {"text": "low"}


def test_batch_of_sounds_equals_single_sounds(transcribe, tmp_path):
    pitches = (180, 2500, 1700, 250)
    files = [sound(tmp_path / f"{x}.flac", x, x / 2000) for x in pitches]
    assert_batch_equals_singles(transcribe, files)


def test_what_is_no_sound_is_refused(transcribe, tmp_path):
    whole = sound(tmp_path / "a.flac", 300, 2).read_bytes()
    too_long = sound(tmp_path / "b.flac", 0, 30.1).read_bytes()
    bad = {
        "400": b"",
        "415": b"hello",
        "422": whole[: len(whole) // 2],
        "413": too_long,
    }
    for status, data in bad.items():
        assert status_of(transcribe, data, tmp_path / "bad") == status
    answer = values(transcribe, "-T", tmp_path / "b.flac", "/predict")
    assert "30 seconds" in answer["detail"]


def test_index_tells_how_to_send_a_sound(transcribe):
    index = values(transcribe, "/")
    assert index["accepts"] == "audio/*" and "recording.wav" in index["use"]
    assert "<form" in transcribe.curl(*PAGE, "/")


def test_sound_is_transcribed_without_noise_in_the_log(transcribe):
    lines = [line for line in transcribe.log.splitlines() if "NO GPU" not in line]
    assert not re.search("(?i)warn|unexpected|deprecat", "\n".join(lines))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """Weights of an untrained ResNet that tells pictures apart, and the converted."""
    folder = tmp_path_factory.mktemp("resnet")
    torch.manual_seed(0)
    network = models.resnet18(num_classes=7)
    network.fc.weight.data *= 20
    torch.save(network.state_dict(), folder / "resnet.pth")
    arguments = ("--weights", folder / "resnet.pth", "--test-image", BULLDOG)
    file = folder / "model.onnx"
    done = run("resnet_onnx.convert", *arguments, "--output", file, "--dynamic-batch")
    assert (done.returncode, "same classes" in done.stdout) == (0, True), done.stderr
    return network.eval(), file


@pytest.fixture(scope="module")
def onnx(resnet):
    with serve("resnet_onnx", resnet[1]) as server:
        yield server


@torch.inference_mode()
def test_converted_network_answers_as_torch_does(onnx, resnet):
    network, _ = resnet
    pixels_of = import_module("examples.resnet_onnx.pixels").pixels_of
    pixels = pixels_of(decode_image(Upload(BULLDOG.read_bytes())))
    scores = network(torch.from_numpy(pixels)[None]).softmax(1)[0]
    best = values(onnx, "-F", f"image=@{BULLDOG}", "/predict")
    assert list(best) == ["class_id", "confidence", "processing_time"]
    assert best["class_id"] == int(scores.argmax())
    assert best["confidence"] == pytest.approx(float(scores.max()), abs=1e-3)
    assert 0 < best["processing_time"] < 10
    top = values(onnx, "-F", f"image=@{BULLDOG}", "/predict/top?top_k=3")
    assert list(top) == ["predictions", "processing_time"]
    found = [each["class_id"] for each in top["predictions"]]
    assert found == scores.argsort(descending=True)[:3].tolist()
    assert top["predictions"][0] == {key: best[key] for key in list(best)[:2]}


def test_top_is_five_where_nothing_is_said(onnx):
    for sent in ((), ("-F", "top_k=")):
        top = values(onnx, "-F", f"file=@{BULLDOG}", *sent, "/predict/top")
        assert len(top["predictions"]) == 5


@pytest.mark.parametrize("top_k", ("0", "8", "-1", "2.5", "many", "9" * 5000, "007x"))
def test_bad_top_k_is_refused_with_a_sentence(onnx, top_k):
    sent = ("-F", f"top_k={top_k}", "-F", f"file=@{BULLDOG}")
    answer = values(onnx, *sent, "/predict/top")
    sentence = "top_k must be a whole number from 1 to 7."
    assert (answer["status"], answer["detail"]) == (400, sentence)


def test_other_routes_are_not_there(onnx):
    answer = values(onnx, "-T", BULLDOG, "/predict/bottom")
    assert answer["status"] == 404


def test_both_routes_share_a_batch_and_run_the_network_once(monkeypatch, resnet):
    monkeypatch.setenv("ENDPOINT_MODEL", str(resnet[1]))
    model = import_module("examples.resnet_onnx").Model("cpu")
    runs, run_network = [], model.session.run
    model.session = type(
        "Session", (), {"run": lambda _, *a: runs.append(1) or run_network(*a)}
    )()
    data = [picture(64, 48), BULLDOG.read_bytes()]
    asked = [model.decode(Upload(each, route=r)) for each in data for r in ("", "top")]
    answers = [model.encode(output) for output in model.predict(asked)]
    assert len(runs) == 1
    assert answers[0]["class_id"] == answers[1]["predictions"][0]["class_id"]
    assert answers[2]["class_id"] == answers[3]["predictions"][0]["class_id"]


@pytest.mark.parametrize("path", ("/predict", "/predict/top?top_k=7"))
def test_batch_of_pictures_equals_single_pictures(onnx, tmp_path, path):
    chance, files = np.random.default_rng(0), []
    for number in range(4):
        pixels = chance.integers(0, 256, (64 + number, 80, 3), np.uint8)
        files.append(tmp_path / f"{number}.png")
        inputs.Image.fromarray(pixels).save(files[-1])
    assert_batch_equals_singles(onnx, [BULLDOG, *files], path)


def test_picture_that_is_a_line_takes_no_memory(onnx, tmp_path):
    assert status_of(onnx, picture(1, 40_000), tmp_path / "line") == "200"


def test_server_of_onnx_never_loads_torch(onnx):
    values(onnx, "-T", BULLDOG, "/predict")
    found = subprocess.run(["pgrep", "-P", str(onnx.process.pid)], capture_output=True)
    (worker,) = found.stdout.split()
    libraries = Path(f"/proc/{worker.decode()}/maps").read_text()
    assert "onnxruntime" in libraries and "torch" not in libraries


def test_network_of_one_picture_at_a_time_is_served_too(monkeypatch, resnet, tmp_path):
    weights, file = tmp_path / "one.safetensors", tmp_path / "one.onnx"
    save_file(torch.load(resnet[1].with_name("resnet.pth")), weights)
    done = run("resnet_onnx.convert", "--weights", weights, "--output", file)
    assert done.returncode == 0, done.stderr
    answers = []
    for each in (file, resnet[1]):
        monkeypatch.setenv("ENDPOINT_MODEL", str(each))
        model = import_module("examples.resnet_onnx").Model("cpu")
        (output,) = model.predict([model.decode(model.example)])
        answers.append((model.max_batch, model.encode(output)["class_id"]))
    (one, its_class), (many, their_class) = answers
    assert (one, many, its_class) == (1, 32, their_class)


def test_what_is_no_resnet_is_refused(tmp_path):
    convert = import_module("examples.resnet_onnx.convert")
    torch.save({"fc.bias": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save({"network": {}}, tmp_path / "nested.pth")
    for name in ("other.pth", "nested.pth", "nothing.pth", BULLDOG):
        with pytest.raises(SystemExit) as end:
            convert.load(tmp_path / name)
        assert end.value.code.endswith(".")


def test_conversion_that_changes_answers_is_not_kept(monkeypatch, tmp_path, resnet):
    convert = import_module("examples.resnet_onnx.convert")
    options = ["convert", "--weights", str(resnet[1].with_name("resnet.pth"))]
    file = tmp_path / "wrong.onnx"
    monkeypatch.setattr(sys, "argv", [*options, "--output", str(file)])
    monkeypatch.setattr(
        convert, "export", lambda _, output, __: output.write_bytes(b"") and None
    )
    monkeypatch.setattr(
        convert, "answers", lambda *_: (np.eye(2), np.eye(2)[::-1].copy())
    )
    with pytest.raises(SystemExit) as end:
        convert.main()
    assert "differs from torch" in end.value.code and not file.exists()


SMALL = "--narrow 16 --batch-norm --side 32 --batch 8 --rate 3e-4 --workers 0".split()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Stripes of two directions to tell apart, and what a short training leaves."""
    data, output = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("vgg") / "m"
    tiny_more.stripes(data)
    done = run("vgg16.train", data, "--output", output, "--epochs", 4, *SMALL)
    assert done.returncode == 0, done.stderr
    return data, output, done


def test_training_learns_and_tells_how_well(trained):
    _, output, done = trained
    result = json.loads((output / "test.json").read_text())
    assert result["accuracy"] >= 0.9
    assert np.trace(result["confusion"]) == result["accuracy"] * len(
        result["predictions"]
    )
    assert "96 pictures to train, 12 to validate, 12 to test" in done.stdout
    assert f"Test accuracy {result['accuracy']:.1%}" in done.stdout
    assert (output / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "epoch 4: 100%" in done.stderr


@pytest.fixture(scope="module")
def vgg(trained):
    with serve("vgg16", trained[1]) as server:
        yield server


def test_serving_equals_the_trainings_own_predictions(trained, vgg, tmp_path):
    data, output, _ = trained
    predictions = json.loads((output / "test.json").read_text())["predictions"]
    files = [data / name for name in predictions]
    answers = values(vgg, *forms(files), "/predict")["predictions"]
    for answer, known in zip(answers, predictions.values(), strict=True):
        assert_alike(answer, known)
    assert_batch_equals_singles(vgg, files)
    bad = {"400": b"", "415": b"hello", "422": BULLDOG.read_bytes()[:9000]}
    for status, sent in bad.items():
        assert status_of(vgg, sent, tmp_path / "bad") == status


@pytest.mark.parametrize(
    ("name", "field", "first"),
    [
        ("sentiment", "text", "label"),
        ("transcribe", "audio", "text"),
        ("onnx", "top_k", "class_id"),
        ("vgg", "image", "class"),
    ],
)
def test_index_page_contract_and_command_line_know_the_model(
    name, field, first, request, tmp_path
):
    server, file = request.getfixturevalue(name), BULLDOG
    served = values(server, "/")["model"]
    page, contract = server.curl(*PAGE, "/"), server.curl("/openapi.json")
    assert served in page and "<form" in page
    assert f'"{field}":' in contract
    if name == "sentiment":
        file = tmp_path / "good.txt"
        file.write_text("it is so good")
    if name == "transcribe":
        file = sound(tmp_path / "low.wav", 200)
    command = [SCRIPTS / "flask", "predict", file, "--url", server.url]
    line = subprocess.check_output([*command, "--format", "jsonl"], cwd=ROOT)
    assert first in json.loads(line)


def test_interrupted_training_comes_to_the_same_end(trained, tmp_path):
    data, whole, _ = trained
    options = ("vgg16.train", data, "--output", tmp_path, "--epochs", 4, *SMALL)
    program = (
        "import sys; from examples.vgg16 import train; save = train.Training.save\n"
        "def stop(self): save(self); len(self.curves['loss']) < 2 or sys.exit(9)\n"
        "train.Training.save = stop; train.main()"
    )
    arguments = [str(each) for each in options[1:]]
    variables = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", program, *arguments]
    cut = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True)
    assert cut.returncode == 9 and not (tmp_path / "test.json").exists()
    done = run(*options, "--resume")
    assert done.returncode == 0 and "epoch 2" not in done.stderr
    ours, theirs = (load_file(each / "model.safetensors") for each in (tmp_path, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    refused = run(*options, "--resume", "--batch", 7)
    assert (refused.returncode, "--batch 8" in refused.stderr) == (1, True)


def test_convolutions_stay_as_they_were_when_frozen(trained, tmp_path):
    data, whole, _ = trained
    torch.manual_seed(0)
    start = tmp_path / "start.safetensors"
    weights = load_file(whole / "model.safetensors")
    save_file(weights, start)
    options = ("--weights", start, "--frozen", "--epochs", 1, "--output", tmp_path)
    assert run("vgg16.train", data, *options, *SMALL).returncode == 0
    after = load_file(tmp_path / "model.safetensors")
    changed = {name for name in after if not torch.equal(after[name], weights[name])}
    assert changed and all(name.startswith("classifier") for name in changed)


def test_network_takes_torchvisions_own_weights():
    make_network = import_module("examples.vgg16.network").make_network
    for batch_norm, name in ((False, "vgg16"), (True, "vgg16_bn")):
        with torch.device("meta"):
            theirs = getattr(models, name)(num_classes=3).state_dict()
            ours = make_network(3, 1, batch_norm).state_dict()
        assert {key: each.shape for key, each in ours.items()} == {
            key: each.shape for key, each in theirs.items()
        }


def test_folder_that_holds_no_classes_is_refused(tmp_path):
    train = import_module("examples.vgg16.train")
    with pytest.raises(SystemExit, match="two or more classes"):
        train.find(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(SystemExit, match="fewer than 10"):
        train.find(tmp_path)


@pytest.mark.parametrize(
    "path", ["sentiment", "transcribe", "vgg16/model", "resnet_onnx/model"]
)
def test_example_is_small(path):
    lines = (ROOT / "examples" / f"{path}.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 45
