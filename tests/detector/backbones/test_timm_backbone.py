from __future__ import annotations

import dataclasses
import pickle
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import detector
from detector import ModelError, backbones, model_folder, teaching
from detector.backbones import timm_backbone
from detector.backbones.efficientnet_lite import GraphBackbone
from detector.backbones.quantisation import quantise
from detector.extras import to_install
from detector.heads import COARSE_SIDE
from detector.input_size import InputSize, square
from detector.runtimes.runtime import runtime
from detector.teaching import teach
from tests.detector.parts import draw_part, draw_parts

NAME = "resnet10t"
SIZE = 128
FEATURE_TOLERANCE = 1e-4
"""Of the runtimes' patch features, relative to the largest: 1e-6 was seen."""

needs_timm = pytest.mark.skipif(
    not (find_spec("torch") and find_spec("timm")), reason="torch and timm are an extra and not installed"
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole network's, with the statistics of batch normalisation that only training would give."""
    import torch
    from safetensors.torch import save_file
    from timm import create_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        state = create_model(NAME).state_dict()
        for name, tensor in state.items():
            if name.endswith(("running_mean", "bias", "running_var", "bn2.weight", "bn1.weight")):
                tensor.uniform_(0.5, 1.5) if "bias" not in name and "mean" not in name else tensor.normal_(0, 0.1)
    file = tmp_path_factory.mktemp("weights") / "resnet10t.safetensors"
    save_file(state, file)
    return file


@pytest.fixture(scope="module")
def network(weights: Path) -> GraphBackbone:
    return timm_backbone.load(NAME, weights=weights)


@pytest.fixture
def traced_once(network: GraphBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of which weights are taken: those that were traced and converted before are not again, which takes a
    second or two."""
    known, trace = {network.sha256: network}, timm_backbone._as_graph

    def once(given: Any, name: str, multiple: int) -> GraphBackbone:
        sha256 = given.sha256()
        if sha256 not in known:
            known[sha256] = trace(given, name, multiple)
        return known[sha256]

    monkeypatch.setattr(timm_backbone, "_as_graph", once)


@pytest.fixture(scope="module")
def folder(network: GraphBackbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model taught on this backbone."""
    path = tmp_path_factory.mktemp("models") / "disc"
    detector.fit(draw_parts(8), image_size=SIZE, coreset_size=100, backbone=network).save(path)
    return path


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError(f"the network was called: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def state_of(file: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(file))


def saved(state: dict[str, Any], file: Path) -> Path:
    import torch
    from safetensors.torch import save_file

    save_file(state, file) if file.suffix == ".safetensors" else torch.save(state, file)
    return file


def random_frame(size: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(size).integers(0, 256, (size, size, 3), np.uint8)


# --- the graph ---


@needs_timm
def test_layers_are_those_of_the_paper(network: GraphBackbone) -> None:
    layers = [(o.name, o.channels, o.stride, o.neighbourhood, o.weight) for o in network.layers]
    assert layers == [("layer2", 128, 8, 3, 1.0), ("layer3", 256, 16, 3, 1.0)]
    assert (network.name, network.grid_stride, network.size_multiple) == (NAME, 8, 32)


@needs_timm
def test_the_graph_gives_what_timm_gives(network: GraphBackbone, weights: Path) -> None:
    """Colour order and normalisation included: RGB as timm's own transforms make it."""
    import torch
    import torch.nn.functional as F
    from timm import create_model

    reference = create_model(NAME, features_only=True, out_indices=(2, 3)).eval()
    state = {name: tensor for name, tensor in state_of(weights).items() if not name.startswith("fc.")}
    reference.load_state_dict(state, strict=False)
    for size in (64, 96, 256):
        frame = random_frame(size)
        rgb = torch.from_numpy(frame[:, :, ::-1].copy()).permute(2, 0, 1)[None] / 255
        mean, std = (torch.tensor(reference.pretrained_cfg[key]).reshape(1, 3, 1, 1) for key in ("mean", "std"))
        with torch.inference_mode():
            fine, coarse = (F.avg_pool2d(x, 3, 1, 1) for x in reference((rgb - mean) / std))
        coarse = F.interpolate(coarse, fine.shape[2:], mode="bilinear", align_corners=False)
        expected = torch.cat((fine, coarse), 1)[0].flatten(1).T.numpy()
        for engine in ("openvino", "torch"):
            features = runtime(engine).features(network, square(size))(frame)
            assert np.abs(features - expected).max() < FEATURE_TOLERANCE * np.abs(expected).max()


@needs_timm
def test_nothing_past_the_cut_is_kept(network: GraphBackbone, weights: Path) -> None:
    used = [name for name in state_of(weights) if not name.startswith(("fc.", "layer4.")) and "num_batches" not in name]
    numbers = sum(state_of(weights)[name].numel() for name in used)
    assert 4 * numbers <= len(network.torch_form) < 4.2 * numbers
    assert len(network.weights) < 4.2 * numbers


@needs_timm
def test_efficientnet_lite0_by_timm_is_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from timm import create_model

    from detector.backbones import timm_network
    from training.anomalib import backbone as renamed

    whole = create_model(renamed.NAME, features_only=True)
    renamed.load_into(whole)
    created = timm_network.created

    def normalised_our_way(name: str) -> Any:
        network = created(name)
        network.pretrained_cfg = network.pretrained_cfg | {"mean": [127 / 255] * 3, "std": [128 / 255] * 3}
        return network

    monkeypatch.setattr(timm_network, "created", normalised_our_way)
    theirs = timm_backbone.load(renamed.NAME, weights=saved(whole.state_dict(), tmp_path / "lite0.safetensors"))
    assert [layer.name for layer in theirs.layers] == list(renamed.LAYERS)
    frame, engine = draw_part(1, defect=True), runtime("openvino")
    expected = engine.features(renamed.two_layers(), square(SIZE))(frame)
    assert np.abs(engine.features(theirs, square(SIZE))(frame) - expected).max() < 1e-3


@needs_timm
def test_the_same_weights_make_the_same_backbone_and_others_another(network: GraphBackbone, weights: Path) -> None:
    assert timm_backbone.load(NAME, weights=weights) == network
    other = timm_backbone.load(NAME, weights=weights, layers=["layer3", "layer2", "layer1"])
    random = timm_backbone.load(NAME, random_weights=True)
    assert len({network.sha256, other.sha256, random.sha256}) == 3


@needs_timm
@pytest.mark.parametrize(
    ("layers", "strides", "grid"),
    [(["layer3", "layer1", "layer2"], [4, 8, 16], 8), (["layer3"], [16], 16), (["act1"], [2], 8)],
    ids=str,
)
def test_other_layers(layers: list[str], strides: list[int], grid: int, weights: Path, tmp_path: Path) -> None:
    """The finest first; the patch grid is known again when the model is read."""
    network = timm_backbone.load(NAME, weights=weights, layers=layers)
    assert [layer.stride for layer in network.layers] == strides and network.grid_stride == grid
    model = detector.fit(draw_parts(5), image_size=64, coreset_size=50, backbone=network)
    model.save(tmp_path / "model")
    again = detector.load_taught(tmp_path / "model")
    assert again.backbone.grid_stride == grid and again.manifest.layers == list(network.layers)
    assert again.backbone.size_multiple == network.size_multiple == 32
    assert again.detect(draw_part(9)).score == model.detect(draw_part(9)).score


# --- models ---


@needs_timm
def test_both_runtimes_score_a_saved_model_the_same(folder: Path) -> None:
    ours, theirs = (detector.load_taught(folder, runtime_name=name) for name in ("openvino", "torch"))
    assert ours.hash == theirs.hash
    for defect in (False, True):
        frame = draw_part(77, defect=defect, width=200, height=150)
        assert ours.detect(frame).score == pytest.approx(theirs.detect(frame).score, rel=1e-3), "a release gate"


@needs_timm
def test_the_manifest_says_what_is_true(folder: Path, network: GraphBackbone) -> None:
    manifest, _, read = model_folder.read(folder)
    assert manifest.backbone == NAME and manifest.backbone_sha256 == network.sha256
    assert "127" not in manifest.preprocessing
    assert isinstance(read, GraphBackbone)
    assert read == network
    assert sorted(path.suffix for path in folder.glob("backbone-*")) == [".bin", ".safetensors", ".xml"]


@needs_timm
def test_a_model_is_served_without_torch(folder: Path) -> None:
    code = (
        "import sys; sys.modules |= {'torch': None, 'timm': None}; import detector;"
        "from tests.detector.parts import draw_part;"
        f"print(detector.load({str(folder)!r}).detect(draw_part(9)).score)"
    )
    root = Path(__file__).parents[3]
    printed = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert float(printed) == detector.load(folder).detect(draw_part(9)).score


@needs_timm
def test_a_damaged_torch_form_is_refused(folder: Path, tmp_path: Path, network: GraphBackbone) -> None:
    manifest, head, read = model_folder.read(folder)
    model_folder.write(tmp_path / "copy", manifest, head, read)
    (file,) = (tmp_path / "copy").glob("backbone-*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(ModelError, match="is damaged: its sha256 is not the one in the manifest"):
        detector.load(tmp_path / "copy", runtime_name="torch")
    broken = dataclasses.replace(network, torch_form=b"not tensors")
    with pytest.raises(ModelError, match="torch form is damaged"):
        runtime("torch").features(broken, square(SIZE))


@needs_timm
def test_a_graph_without_a_torch_form_runs_on_openvino_only(network: GraphBackbone) -> None:
    graph = dataclasses.replace(network, torch_form=b"")
    with pytest.raises(ModelError, match="exists as an OpenVINO graph only: use RUNTIME=openvino"):
        runtime("torch").features(graph, square(SIZE))
    assert np.array_equal(*(runtime("openvino").features(n, square(SIZE))(draw_part(1)) for n in (graph, network)))


@needs_timm
def test_quantised_it_has_no_torch_form(network: GraphBackbone) -> None:
    pytest.importorskip("nncf", reason="nncf is an extra and not installed")
    quantised = quantise(network, [draw_part(number) for number in range(3)])
    assert quantised.torch_form == b"" and quantised.sha256 != network.sha256


@needs_timm
@pytest.mark.usefixtures("traced_once")
def test_random_weights_say_so(tmp_path: Path) -> None:
    network = timm_backbone.load(NAME, random_weights=True)
    assert network.name == "resnet10t (random weights)"
    assert timm_backbone.load(NAME, random_weights=True) == network, "seeded"
    model = detector.fit(draw_parts(5), image_size=64, coreset_size=50, backbone=network)
    model.save(tmp_path / "model")
    assert detector.load_taught(tmp_path / "model").manifest.backbone == "resnet10t (random weights)"


@needs_timm
def test_input_sizes_must_fit(network: GraphBackbone) -> None:
    with pytest.raises(ModelError, match="image size 80 cannot be used: take a multiple of 32"):
        detector.fit(draw_parts(5), image_size=80, backbone=network)
    assert not {preset.image_size % network.size_multiple for preset in teaching.PRESETS.values()} - {0}


# --- weights ---


@needs_timm
@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize("file", ["plain.pth", "plain.bin", "wrapped.pth", "half.safetensors"])
def test_files_that_are_taken(file: str, weights: Path, network: GraphBackbone, tmp_path: Path) -> None:
    state = state_of(weights)
    if file == "wrapped.pth":
        state = {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}
    if file == "half.safetensors":
        state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    loaded = timm_backbone.load(NAME, weights=saved(state, tmp_path / file))
    assert (loaded.sha256 == network.sha256) is (file != "half.safetensors")
    assert loaded.layers == network.layers


@needs_timm
@pytest.mark.usefixtures("traced_once")
def test_what_is_not_used_may_be_missing(weights: Path, network: GraphBackbone, tmp_path: Path) -> None:
    """Heads of fewer classes, blocks past the cut and counters, as those who save features leave them out."""
    kept = {n: t for n, t in state_of(weights).items() if not n.startswith(("fc.", "layer4.")) and "num_b" not in n}
    kept["head.weight"] = kept["conv1.0.weight"].clone()
    assert timm_backbone.load(NAME, weights=saved(kept, tmp_path / "features.safetensors")) == network


def without(*names: str) -> Callable[[dict[str, Any]], Any]:
    return lambda state: {name: tensor for name, tensor in state.items() if not name.startswith(names)}


def with_(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda state: state | {name: change(state["layer1.0.conv1.weight"])}


@needs_timm
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            without("layer2"),
            r"is not of resnet10t: it lacks layer2\.\S+, layer2\.\S+, layer2\.\S+, layer2\.\S+ and \d+ m",
        ),
        (without("conv1.0.weight"), r"it lacks conv1\.0\.weight; give the name it was made with"),
        (with_("layer2.7.conv1.weight", lambda x: x), r"resnet10t, which has no layer2\.7\.conv1\.weight; give"),
        (with_("layer1.0.conv2.weight", lambda x: x[:9].clone()), r"conv2\.weight is 9×64×3×3 and has to be 64×64×3×3"),
        (with_("layer1.0.conv2.weight", lambda x: x * float("nan")), "numbers that are not finite"),
        (lambda state: {}, "holds no state dict"),
    ],
)
def test_weights_that_do_not_fit(change: Any, message: str, weights: Path, tmp_path: Path) -> None:
    file = saved(change(state_of(weights)), tmp_path / "other.pth")
    with pytest.raises(ModelError, match=message) as raised:
        timm_backbone.load(NAME, weights=file)
    assert str(file) in str(raised.value) and "\n" not in str(raised.value)


class Code:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('it ran')",))


@needs_timm
def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    import torch

    old, new = tmp_path / "old.pth", tmp_path / "new.pth"
    old.write_bytes(pickle.dumps({"conv1.weight": Code()}, 2))
    torch.save({"conv1.weight": Code()}, new)
    for file in (old, new):
        with pytest.raises(ModelError, match="holds more than tensors, which could run code, so it was not loaded"):
            timm_backbone.load(NAME, weights=file)


@needs_timm
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_cannot_be_read(suffix: str, tmp_path: Path, weights: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        timm_backbone.load(NAME, weights=tmp_path / f"absent{suffix}")
    whole = saved(state_of(weights), tmp_path / f"whole{suffix}").read_bytes()
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        (tmp_path / f"cut{suffix}").write_bytes(content)
        with pytest.raises(ModelError, match=f"cut{suffix} is damaged"):
            timm_backbone.load(NAME, weights=tmp_path / f"cut{suffix}")
    with pytest.raises(ModelError, match="of a file or random ones, not both"):
        timm_backbone.load(NAME, weights=weights, random_weights=True)


# --- names ---


@needs_timm
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wideresnet50_2", "timm has no network 'wideresnet50_2'; like it: wide_resnet50_2, "),
        ("resnet10t.nowhere", "timm has no network 'resnet10t.nowhere'; like it: resnet10t.c3_in1k"),
        ("hf-hub:someone/resnet10t", "timm has no network 'hf-hub:someone/resnet10t'"),
        ("local-dir:/tmp", "timm has no network 'local-dir:/tmp'"),
        ("", "timm has no network ''"),
        ("inception_v3", "its layer Mixed_5d makes .* not 288 channels of stride 8"),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_names_that_cannot_be_used(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        timm_backbone.load(name, random_weights=True)


@needs_timm
@pytest.mark.parametrize("layers", [["layer9"], ["layer2", "conv"], [], [""]], ids=str)
def test_unknown_layers_are_refused(layers: list[str], weights: Path) -> None:
    with pytest.raises(ModelError, match=r"has no layer .*its layers are act1 \(stride 2\), layer1 \(stride 4\)"):
        timm_backbone.load(NAME, layers=layers, weights=weights)


@needs_timm
def test_a_network_without_the_usual_strides_has_to_be_told_its_layers() -> None:
    from detector.backbones.timm_network import Output, chosen

    given = [Output(0, "stem", 8, 4), Output(1, "stage", 16, 32)]
    with pytest.raises(ModelError, match=r"no layers of stride 8 and 16: .* its layers are stem \(stride 4\)"):
        chosen("net", given, None)
    assert chosen("net", given, ["stage"]) == (given[1],)


# --- transformers ---


@pytest.fixture(scope="module", params=["vit_small_patch14_dinov2", "vit_small_patch16_dinov3"])
def transformer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GraphBackbone:
    """With positions fifty times as strong as random ones, so that an error in them shows."""
    import torch

    from detector.backbones import timm_network

    whole = timm_network.created(request.param)
    if whole.pos_embed is not None:
        whole.pos_embed.data.mul_(50)
    file = tmp_path_factory.mktemp("weights") / "vit.pth"
    torch.save(whole.state_dict() | {"mask_token": torch.zeros(1)}, file)
    return timm_backbone.load(request.param, weights=file)


@needs_timm
def test_a_transformers_patches_are_the_grid(transformer: GraphBackbone) -> None:
    patch = 14 if "patch14" in transformer.name else 16
    layers = [(o.name, o.channels, o.stride) for o in transformer.layers]
    assert layers == [("blocks.3", 384, patch), ("blocks.7", 384, patch)]
    assert (transformer.grid_stride, transformer.size_multiple) == (patch, patch)
    size = InputSize(7 * patch, 5 * patch)
    frame = draw_part(3, width=size.width, height=size.height)
    one, other = (runtime(name).features(transformer, size)(frame) for name in ("openvino", "torch"))
    assert one.shape == (35, 768)
    assert np.abs(one - other).max() < FEATURE_TOLERANCE * np.abs(other).max()


@needs_timm
def test_a_model_is_taught_on_a_transformer(transformer: GraphBackbone, tmp_path: Path) -> None:
    size = 5 * transformer.size_multiple
    model = detector.fit(draw_parts(5), image_size=size, coreset_size=50, backbone=transformer, inspect="full")
    found = model.detect(draw_part(50, defect=True))
    assert found.anomaly_map.shape == (5, 5) and found.score > model.detect(draw_part(50)).score
    model.save(tmp_path / "model")
    again = detector.load_taught(tmp_path / "model", runtime_name="torch")
    assert (again.backbone.grid_stride, again.backbone.size_multiple) == (transformer.grid_stride,) * 2
    assert again.detect(draw_part(50, defect=True)).score == pytest.approx(found.score, rel=1e-3)


@needs_timm
def test_a_presets_size_becomes_one_the_patches_fit(transformer: GraphBackbone) -> None:
    """At all scales: the coarse one's patches are those of an input averaged down."""
    sizes = []
    for preset in teaching.PRESETS.values():
        shrink = teach._shrink(preset, None, transformer)
        sizes.append(teach._fitting(preset.image_size, transformer.size_multiple * shrink))
        assert sizes[-1] % (transformer.size_multiple * shrink) == 0 and sizes[-1] // shrink >= COARSE_SIDE
        assert abs(sizes[-1] - preset.image_size) <= transformer.size_multiple * shrink / 2
    assert sizes == ([252, 308, 462] if transformer.size_multiple == 14 else [256, 320, 480])


# --- the hub ---


@needs_timm
@pytest.mark.usefixtures("traced_once", "no_network")
def test_the_network_is_not_called_for_a_file_or_random_weights(weights: Path, network: GraphBackbone) -> None:
    assert timm_backbone.load(NAME, weights=weights) == network
    timm_backbone.load(NAME, random_weights=True)
    runtime("torch").features(network, square(64))


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))


@needs_timm
@pytest.mark.usefixtures("empty_cache")
def test_a_hub_out_of_reach_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[float] = []

    def unreachable(url: str, *, timeout: float) -> Any:
        asked.append(timeout)
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", unreachable)
    with pytest.raises(
        ModelError, match=r"hub, .* of resnet10t, is out of reach: --backbone-weights FILE takes a local"
    ):
        timm_backbone.load(NAME)
    assert len(asked) == 1 and asked[0] <= 10, "once, and not for long"


@needs_timm
@pytest.mark.usefixtures("empty_cache", "no_network")
def test_being_offline_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="is out of reach: --backbone-weights FILE"):
        timm_backbone.load(NAME)


@needs_timm
@pytest.mark.usefixtures("no_network")
def test_a_hub_that_answers_with_an_error_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from timm.models import _hub

    def full(**place: Any) -> Any:
        raise OSError("no space left")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda url, timeout: None)
    monkeypatch.setattr(_hub, "hf_hub_download", full)
    with pytest.raises(
        ModelError, match=r"of resnet10t cannot be had from the model hub \(no space left\): --backbone-w"
    ):
        timm_backbone.load(NAME)


@needs_timm
@pytest.mark.usefixtures("no_network")
def test_weights_that_are_not_on_the_hub() -> None:
    with pytest.raises(
        ModelError, match=r"no weights of legacy_xception: download https://\S+\.pth, and give weights by"
    ):
        timm_backbone.load("legacy_xception")


@needs_timm
@pytest.mark.usefixtures("traced_once", "no_network")
def test_published_weights_are_used(network: GraphBackbone, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the hub had been asked before: timm reads the file in its cache."""
    import huggingface_hub
    from timm.models import _hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *place, revision: str(weights))
    monkeypatch.setattr(_hub, "hf_hub_download", lambda **place: str(weights))
    assert timm_backbone.load(NAME) == network


# --- without the extra ---


@pytest.mark.parametrize("missing", ["torch", "timm"])
def test_without_the_extra_the_message_says_what_to_do(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    for module in ("timm_network", "timm_weights"):
        monkeypatch.delitem(sys.modules, f"detector.backbones.{module}", raising=False)
        monkeypatch.delattr(backbones, module, raising=False)
    with pytest.raises(ModelError, match=re.escape(to_install("torch"))):
        timm_backbone.load(NAME)
