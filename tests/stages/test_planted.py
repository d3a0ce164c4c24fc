"""The stages of planted sets, on models whose answers are known: they see one part, and nothing of the other."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from nrf_ray.attacks.named import attack_named
from nrf_ray.attacks.robustness import robust_accuracy
from nrf_ray.attacks.specs import fgsm, n_fgsm, pgd_attack
from nrf_ray.constructions.stored_set import constructed_set, shard_name
from nrf_ray.data.catalogue import DATASETS
from nrf_ray.data.load import load as both_splits
from nrf_ray.data.planted import KINDS, MODALITIES, generate, images, parse_planted, planted, swaps, texts
from nrf_ray.data.shards import read_shard
from nrf_ray.errors import ConfigError
from nrf_ray.features.pretrained_readers import Pretrained, pretrained_named
from nrf_ray.graph.stage import Resources, Stage
from nrf_ray.stages import weights
from nrf_ray.stages.relabel import RelabelSpec, relabel
from nrf_ray.stages.reliance import FootprintSpec, RelianceSpec, footprint, reliance
from nrf_ray.stages.robustness import RobustnessSpec
from nrf_ray.sweep.planted_models import model_of_read_labels, planted_model, preset_of, reader_of, set_of
from tests.sweeps import load

NOISE_ONLY = {"images": images.weaves, "texts": texts.marks}
EPS = 0.4


class SeesNoise(nn.Module):
    """The nearest pattern: logits are the inner products with the patterns of the classes, over all places."""

    def __init__(self, modality: str, classes: int = 4) -> None:
        super().__init__()
        patterns = torch.from_numpy(NOISE_ONLY[KINDS[modality].reads](classes)).float()
        self.patterns = nn.Parameter(patterns if KINDS[modality].reads == "images" else patterns[:, None, None])

    def forward(self, examples):
        return (examples[:, None] * self.patterns).sum(dim=(2, 3, 4)) / 5


class SeesHuman(nn.Module):
    """Templates of the human parts of all examples of a split: the label of the nearest one, softly."""

    def __init__(self, ref, split: str = "test") -> None:
        super().__init__()
        examples = generate.generate(parse_planted(ref.name), split)
        self.templates = nn.Parameter(torch.from_numpy(swaps.parts_of(examples).human))
        self.classes = torch.nn.functional.one_hot(torch.from_numpy(examples.human), 4).float()

    def forward(self, examples):
        # The mean over each pair or cell: what the noise part cannot change.
        if examples.shape[-1] == 32:
            seen = examples.unflatten(-1, (16, 2)).mean(-1, keepdim=True).expand(-1, -1, -1, -1, 2).flatten(-2)
        else:
            seen = torch.nn.functional.avg_pool2d(examples, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
        near = -(seen[:, None] - self.templates).square().sum(dim=(2, 3, 4))
        return near.softmax(dim=1) @ self.classes.to(near.dtype) + 1e-4 * near @ self.classes


def context(tmp_path):
    """Return what a stage's body needs of its context."""
    files = {}
    stage = SimpleNamespace(resources=Resources(), key="0" * 64)
    return SimpleNamespace(stage=stage, write=files.__setitem__, files=files)


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Return a function from a stage, its config and modules to the stage's metrics."""
    monkeypatch.setattr(weights, "load_model", lambda artifact, device: artifact.eval())
    return lambda kind, config, **models: kind.body(config, context(tmp_path), **models)


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_model_of_the_noise_part_relies_on_it_alone(modality, measured):
    ref = set_of(planted(modality, label="both", test=80)).ref
    found = measured(reliance, RelianceSpec(dataset=ref), model=SeesNoise(modality))
    assert (found["clean_accuracy"], found["noise_alone"], found["follows_noise"]) == (1, 1, 1)
    assert found["follows_human"] == 0
    assert found["human_alone"] < 0.6
    assert found["score_human"] < 1e-5 < found["score_noise"]
    assert found["n"] == 80


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_model_of_the_human_part_does_not_see_the_noise_part(modality, measured):
    ref = set_of(planted(modality, label="both", test=50)).ref
    found = measured(reliance, RelianceSpec(dataset=ref), model=SeesHuman(ref))
    assert (found["clean_accuracy"], found["human_alone"], found["follows_human"]) == (1, 1, 1)
    assert found["follows_noise"] == 0
    assert found["noise_alone"] < 0.6
    assert found["score_noise"] < 1e-5 < found["score_human"]


@pytest.mark.parametrize("modality", MODALITIES)
def test_an_attack_changes_the_part_that_the_model_sees(modality, measured):
    ref = set_of(planted(modality, label="both", test=50)).ref
    spec, human = FootprintSpec(dataset=ref, attack=pgd_attack("l2", EPS, steps=10)), SeesHuman(ref)
    found = measured(footprint, spec, model=SeesNoise(modality), reader=human)
    # Where it clamps to the box, or writes into padding that this model takes for words, it leaves the noise part.
    assert found["energy_noise"] > (0.99 if KINDS[modality].reads == "images" else 0.6)
    assert found["energy_human"] < 0.01
    assert found["human_kept"] == 1
    assert found["noise_kept"] < (0.05 if KINDS[modality].reads == "images" else 0.9)
    assert found["attacked"] == 50
    found = measured(footprint, spec, model=human, reader=human)
    assert found["energy_human"] > (0.99 if KINDS[modality].reads == "images" else 0.6)
    assert found["energy_noise"] < 0.01
    assert found["noise_kept"] == 1


class SeesMarks(SeesNoise):
    """The same of the words alone, which makes it a linear function of them."""

    def forward(self, examples):
        return super().forward(examples * (examples.detach().mean(dim=-1, keepdim=True) >= 0.25))


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_best_reader_of_noise_parts_does_not_withstand_the_attack_of_the_sweep(modality):
    module = load("planted_features")
    sweep = module.planted_features(module.PlantedOptions(modality=modality, label="noise").grid())
    (attack,) = {stage.config.attack for stage in sweep.stages() if isinstance(stage.config, FootprintSpec)}
    (judging,) = {stage.config.attack for stage in sweep.stages() if isinstance(stage.config, RobustnessSpec)}
    assert (attack, attack.name) == (judging, "pgd-10-margin")
    tested = both_splits(set_of(planted(modality, label="noise", test=200)).ref)[1]
    reader = SeesNoise(modality) if KINDS[modality].reads == "images" else SeesMarks("text")
    assert robust_accuracy(reader, tested, attack) <= 0.05


def test_cross_entropy_stalls_between_equal_wrong_classes_where_the_margin_does_not():
    """In planted texts of nine words, a noise part of .125 a word is about what the ball can turn: no more."""
    tested = both_splits(set_of(planted("text", label="noise", noise=0.125, test=200)).ref)[1]
    pgd = pgd_attack("l2", 0.25, steps=10)
    by_entropy, by_margin = (
        robust_accuracy(SeesMarks("text"), tested, attack_named(name, pgd)) for name in ("pgd", "pgd-margin")
    )
    assert by_entropy > by_margin + 0.15


def test_a_model_that_has_nothing_right_has_no_footprint(measured):
    class Wrong(SeesNoise):
        def forward(self, examples):
            return -super().forward(examples)

    ref = set_of(planted("image", label="both", test=20)).ref
    spec = FootprintSpec(dataset=ref, attack=fgsm("l2", 0.25))
    found = measured(footprint, spec, model=Wrong("image"), reader=SeesHuman(ref))
    assert found["attacked"] == 0
    assert {value for name, value in found.items() if name != "attacked"} == {None}


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("part", ["human", "noise"])
def test_labels_are_read_in_the_part_that_was_asked_for(modality, part, monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "load_model", lambda artifact, device: artifact.eval())
    label = {"human": "noise", "noise": "human"}[part]  # the planted labels say nothing of what is read
    ref = set_of(planted(modality, label=label, train=100, test=20)).ref
    made, where = relabel, context(tmp_path)
    reader = SeesHuman(ref, "train") if part == "human" else None
    found = made.body(RelabelSpec(dataset=ref, part=part), where, reader=reader)
    rows = read_shard(where.files[shard_name(0)])
    examples = generate.generate(parse_planted(ref.name), "train")
    shown = torch.from_numpy(getattr(examples, part))
    assert found["agreement"] == float((rows.columns["label"] == shown).double().mean()) == 1
    assert np.array_equal(rows.images.numpy(), examples.images)
    assert np.array_equal(rows.columns["true_label"], examples.labels)
    record = SimpleNamespace(metrics=found, key="0" * 64)
    artifact = SimpleNamespace(read=where.files.__getitem__, names=lambda: list(where.files), record=record)
    assert torch.equal(constructed_set(artifact).labels, rows.columns["label"]), "train takes it as a training set"
    assert (
        len(constructed_set(artifact, changed_only=True)) == (rows.columns["label"] != rows.columns["true_label"]).sum()
    )


def test_what_is_read_by_whom_is_in_the_key_and_in_the_name():
    dataset, preset = set_of(planted("image")), preset_of("image")
    reader = reader_of(dataset, preset)
    bare = parse_planted(reader.train.config.dataset.name)
    assert (bare.modality, bare.noise) == ("image", 0)
    assert bare.seed != parse_planted(dataset.ref.name).seed, "a reader is not shown what it was trained on"
    of_noise, of_human = (
        model_of_read_labels(dataset, part, reader, "vgg_s", preset.student, 0) for part in ("noise", "human")
    )
    published = Pretrained(name="resnet18", sha256="0" * 64, location="/here")
    by_published = model_of_read_labels(dataset, "human", reader, "vgg_s", preset.student, 0, pretrained=published)
    moved = Pretrained(name="resnet18", sha256="0" * 64, location="/there")
    elsewhere = model_of_read_labels(dataset, "human", reader, "vgg_s", preset.student, 0, pretrained=moved)
    keys = [found.model.train.key for found in (of_noise, of_human, by_published)]
    assert len(set(keys)) == 3
    assert elsewhere.model.train.key == keys[2], "a place is no identity"
    assert [set(found.relabelled.inputs) for found in (of_noise, of_human, by_published)] == [set(), {"reader"}, set()]
    assert "as read by resnet18" in by_published.relabelled.label


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RelianceSpec(dataset=DATASETS["digits"].ref), "dataset digits are not known; use a planted set"),
        (lambda: RelabelSpec(dataset=DATASETS["digits"].ref, part="human"), "parts of dataset digits are not known"),
        (lambda: RelabelSpec(dataset=REF, part="both"), "by its part human or noise, not 'both'"),
        (lambda: RelabelSpec(dataset=REF, part="human", pretrained=BERT), "reads the human part of planted texts, not"),
        (lambda: RelabelSpec(dataset=REF, part="noise", pretrained=RESNET), "resnet18 reads the human part of"),
        (lambda: FootprintSpec(dataset=REF, attack=pgd_attack("l2", 1.0, targeted=True)), "needs an untargeted attack"),
        (lambda: FootprintSpec(dataset=REF, attack=n_fgsm("l2", 1.0)), "leaves the ball"),
        (lambda: relabel.body(RelabelSpec(dataset=REF, part="human"), None), "labels read by a model need a label"),
        (lambda: relabel.body(RelabelSpec(dataset=REF, part="noise"), None, reader=1), "linear model need no label"),
        (lambda: planted_model(set_of(planted("image", train=20)), "vgg_s", preset_of("image").source, 0), "one batch"),
        (lambda: pretrained_named("vgg16"), "unknown reader 'vgg16'; known: resnet18"),
        (lambda: pretrained_named("hf:/nowhere/at/all"), "is neither a folder|is not a folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(make, message):
    with pytest.raises(ConfigError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


REF = set_of(planted("image")).ref
BERT = Pretrained(name="hf:bert", sha256="0" * 64, location="/bert")
RESNET = Pretrained(name="resnet18", sha256="0" * 64, location="/resnet")


def test_weights_that_are_not_here_are_asked_for_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"resnet18 are not at .*; on a machine with internet access, run python -c"):
        pretrained_named("resnet18")


def test_a_published_vision_model_reads_images(tmp_path, monkeypatch):
    """With random weights its features are random projections; glyphs can be read in those too."""
    from torchvision.models import resnet18

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    place.parent.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(resnet18().state_dict(), place)
    reader = pretrained_named("resnet18")
    ref = set_of(planted("image", train=64, classes=2)).ref
    where = context(tmp_path)
    found = relabel.body(RelabelSpec(dataset=ref, part="human", pretrained=reader), where)
    assert found["agreement"] > 0.6
    assert found["agreement_untold"] is not None
    place.write_bytes(place.read_bytes() + b"x")
    with pytest.raises(ConfigError, match=r"resnet18 at .* were changed after this run was planned"):
        relabel.body(RelabelSpec(dataset=ref, part="human", pretrained=reader), where)
    torch.save({"fc.bias": torch.zeros(1000)}, place)
    with pytest.raises(ConfigError, match=r"pth does not fit resnet18: 101 missing: conv1\.weight"):
        relabel.body(RelabelSpec(dataset=ref, part="human", pretrained=pretrained_named("resnet18")), where)


def test_an_encoder_reads_sentences(tmp_path):
    """A tiny BERT with random weights: its states tell the words, and so the topics."""
    pytest.importorskip("transformers")
    pytest.importorskip("tokenizers")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel

    from nrf_ray.data.planted.grammar import WORDS

    folder = tmp_path / "tiny"
    vocabulary = {word: number for number, word in enumerate(("[UNK]", *WORDS))}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=16,
        )  # fmt: skip
        BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    assert json.loads((folder / "config.json").read_text())["hidden_size"] == 32
    ref = set_of(planted("text", label="noise", train=200)).ref
    where = context(tmp_path)
    reader = pretrained_named(f"hf:{folder}")
    found = relabel.body(RelabelSpec(dataset=ref, part="human", pretrained=reader), where)
    assert found["agreement_untold"] > 0.6
    assert isinstance(relabel(RelabelSpec(dataset=ref, part="human", pretrained=reader)), Stage)
