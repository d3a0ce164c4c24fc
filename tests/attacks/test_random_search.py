"""Random search: inside its threat model, the same for an image whatever is searched with it, and near the optimum."""

import pytest
import torch

from nrf_ray.attacks.random_search import random_search
from nrf_ray.attacks.threat import ThreatModel, perturbation_norm
from nrf_ray.engine.predict import predict
from nrf_ray.errors import ConfigError


def search(model, images, labels, threat, queries=200, indices=None):
    return random_search(
        model,
        images,
        labels,
        threat=threat,
        queries=queries,
        seed=0,
        indices=torch.arange(len(images)) if indices is None else indices,
    )


def searched(*what, **how):
    return search(*what, **how).images


@pytest.fixture
def planted(linear):
    """Return a linear network of two classes, and images whose distance to the border is known in closed form."""
    generator = torch.Generator().manual_seed(0)
    model = linear(torch.randn(2, 64, generator=generator))
    images = 0.5 + 0.4 * (torch.rand(64, 1, 8, 8, generator=generator) - 0.5)
    return model, images, predict(model, images)


@pytest.mark.parametrize(("norm", "dual", "share"), [("l2", 2, 0.6), ("linf", 1, 0.8)])
def test_it_finds_most_of_what_a_linear_network_allows_and_never_more(norm, dual, share, planted):
    model, images, labels = planted
    apart = model.weight[0] - model.weight[1]
    far = (images.flatten(1) @ apart).abs().detach() / apart.norm(p=dual).detach()
    threat = ThreatModel(norm=norm, eps=float(far.max()))
    found = searched(model, images, labels, threat, queries=1000)
    assert perturbation_norm(found - images, norm).max() <= threat.eps * (1 + 1e-5)
    assert found.min() >= 0
    assert found.max() <= 1
    fooled = predict(model, found) != labels
    assert not (fooled & (far > threat.eps)).any()
    assert fooled[far < share * threat.eps].all(), "a thousand queries find the border within this share of the radius"


@pytest.mark.parametrize("norm", ["l2", "linf", "l2_token"])
def test_an_image_gets_the_same_whatever_is_searched_with_it(norm, trained, digits):
    images, labels, threat = digits[1].images[:12], digits[1].labels[:12], ThreatModel(norm=norm, eps=0.2)
    whole = searched(trained, images, labels, threat, queries=30)
    part = searched(trained, images[7:9], labels[7:9], threat, queries=30, indices=torch.tensor([7, 8]))
    assert torch.allclose(whole[7:9], part, atol=1e-6)
    assert (whole != images).flatten(1).any(dim=1).all()
    assert perturbation_norm(whole - images, norm).max() <= 0.2 * (1 + 1e-5)


def test_a_model_without_gradients_is_searched_and_keeps_its_mode(trained, digits):
    class Rounded(torch.nn.Module):
        def forward(self, images):
            with torch.no_grad():
                return trained((images * 8).round() / 8)

    model = Rounded().train()
    images, labels = digits[1].images[:40], predict(model, digits[1].images[:40]).clone()
    found = searched(model, images, labels, ThreatModel(norm="linf", eps=0.15))
    assert model.training
    assert (predict(model, found) != labels).double().mean() > 0.3


def test_answers_that_are_nan_are_not_taken_for_a_success(digits):
    class Nan(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :10] * torch.nan

    images, labels = digits[1].images[:4], digits[1].labels[:4]
    found = searched(Nan(), images, labels, ThreatModel(norm="linf", eps=0.1), queries=5)
    assert found.isfinite().all()


def test_images_outside_the_box_are_refused(trained, digits):
    with pytest.raises(ConfigError, match=r"images in \[0, 1\]"):
        searched(trained, digits[1].images[:2] * 3, digits[1].labels[:2], ThreatModel(norm="linf", eps=0.1))


def test_queries_are_counted_until_an_image_fools_the_model(planted):
    model, images, labels = planted
    threat = ThreatModel(norm="l2", eps=0.6)
    found, queries = search(model, images, labels, threat, queries=100)
    fooled = predict(model, found) != labels
    assert (queries[~fooled] == 100).all()
    late = (fooled & (queries > 0) & (queries < 100)).nonzero().squeeze(1)
    assert len(late) > 3
    assert 0 in queries[fooled], "some images are fooled by the start"
    asked = torch.zeros(len(images), dtype=torch.long)

    class Counting(torch.nn.Module):
        def forward(self, batch):
            near = torch.cdist(batch.flatten(1), images.flatten(1)).argmin(dim=1)
            asked.index_add_(0, near, torch.ones_like(near))
            return model(batch)

    again = search(Counting(), images, labels, threat, queries=100)
    assert torch.equal(again.queries, queries)
    assert torch.equal(asked, queries + 1), "one pass for the start, and one for each query"
