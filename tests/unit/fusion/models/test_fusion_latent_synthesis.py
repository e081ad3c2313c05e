"""The synthesis network: the paper's layers, its costs and fusions by hand, missing inputs, and that it learns."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from fusion_toy import toy_mask, toy_settings, toy_volumes

from neurostrata.core.config import section_defaults
from neurostrata.core.errors import UserError
from neurostrata.fusion.data.volumes import VolumeSet, open_volumes
from neurostrata.fusion.models.interface import PLANES, TrainingSettings
from neurostrata.fusion.models.registry import build_model
from neurostrata.fusion.models.synthesis import latent_synthesis
from neurostrata.fusion.models.synthesis.layers import Decoder, Encoder, as_slices, as_volumes
from neurostrata.fusion.models.synthesis.network import SynthesisNetwork
from neurostrata.fusion.training.machine import Machine

torch.set_num_threads(1)
NAMES = ("t1", "t2", "flair")
SMALL = {"channels": [4, 6, 8], "decoder_channels": 5, "latent_channels": 4, "code_grid": [2, 2, 2]}


def options(**given):
    return toy_settings("latent_synthesis", NAMES, options={**SMALL, **given})["experiment"]["options"]


def network(inputs=(0, 1), outputs=(1, 2), mask=None, modalities=3, **given):
    torch.manual_seed(3)
    return SynthesisNetwork(modalities, inputs, outputs, mask, options(**given)).eval()


def random_volumes(people=2, modalities=3, shape=(6, 8, 5), seed=1):
    return torch.rand(people, modalities, *shape, generator=torch.Generator().manual_seed(seed))


def training(**given):
    return TrainingSettings.resolve({**section_defaults("training"), "batch_size": 2, **given}, {}, seed=1)


# ------------------------------------------------------------------------------------ the layers


def test_the_defaults_are_the_papers():
    given = toy_settings("latent_synthesis", NAMES)["experiment"]["options"]
    assert (given["channels"], given["latent_channels"], given["decoder_channels"]) == ([32, 64, 128], 16, 32)
    assert (given["fusion"], given["costs"], given["slices_per_step"]) == ("max", ["c1", "c2", "c3"], 16)
    assert given["plane"] == "axial"


def test_the_encoder_has_two_poolings_and_a_latent_image_as_large_as_the_slice():
    """ISLES: 224x160 slices; 32 channels there, 64 at 112x80, 128 at 56x40, and back."""
    with torch.device("meta"):
        encoder = Encoder(1, [32, 64, 128], 16)
        seen = []
        for layer in encoder.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.register_forward_hook(
                    lambda layer, _, result: seen.append((result.shape[1], *result.shape[2:]))
                )
        assert encoder(torch.empty(3, 1, 224, 160)).shape == (3, 16, 224, 160)
    large, middle, small = (224, 160), (112, 80), (56, 40)
    assert seen == [
        *[(32, *large)] * 2,
        *[(64, *middle)] * 2,
        *[(128, *small)] * 2,
        *[(64, *middle)] * 3,
        *[(32, *large)] * 3,
        (16, *large),
    ]
    layers = [layer for layer in encoder.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert {(layer.kernel_size, layer.stride, layer.padding_mode) for layer in layers} == {
        ((3, 3), (1, 1), "replicate")
    }


def test_the_numbers_of_parameters_by_hand():
    def convolution(a, b, side=3):
        return side * side * a * b + b

    encoder = (
        convolution(1, 32) + convolution(32, 32)
        + convolution(32, 64) + convolution(64, 64)
        + convolution(64, 128) + convolution(128, 128)
        + convolution(128, 64) + convolution(64 + 64, 64) + convolution(64, 64)
        + convolution(64, 32) + convolution(32 + 32, 32) + convolution(32, 32)
        + convolution(32, 16)
    )  # fmt: skip
    # Concatenation: 16, then 16 + 32, then 16 + 32 + 32 channels.
    decoder = (
        convolution(16, 32) + convolution(32, 32)
        + convolution(48, 32) + convolution(32, 32)
        + convolution(80, 1, side=1)
    )  # fmt: skip

    def count(module):
        return sum(p.numel() for p in module.parameters())

    with torch.device("meta"):
        assert count(Encoder(1, [32, 64, 128], 16)) == encoder
        assert count(Encoder(2, [32, 64, 128], 16)) == encoder + 9 * 32
        assert count(Decoder(16, 32)) == decoder
    given = toy_settings("latent_synthesis", NAMES, options={"outputs": ["flair"]})["experiment"]["options"]
    model = build_model("latent_synthesis", {**given, "inputs": ["t1", "t2"]}, NAMES, (8, 8, 8), 1)
    assert model.facts()["parameters"] == 2 * encoder + decoder
    assert model.code_size == 16 * 64


def test_slices_of_each_plane_and_back():
    volumes = random_volumes(shape=(4, 5, 6))
    assert {plane: tuple(as_slices(volumes, plane).shape) for plane in PLANES} == {
        "sagittal": (8, 3, 5, 6),
        "coronal": (10, 3, 4, 6),
        "axial": (12, 3, 4, 5),
    }
    torch.testing.assert_close(as_slices(volumes, "axial")[6 + 2], volumes[1, :, :, :, 2])
    torch.testing.assert_close(as_slices(volumes, "coronal")[5 + 2], volumes[1, :, :, 2])
    for plane in PLANES:
        assert torch.equal(as_volumes(as_slices(volumes, plane), 2, plane), volumes)


# --------------------------------------------------------------------------------------- fusion

#: Two inputs' latent images of one slice, two channels, 1x2 pixels.
LATENT = torch.tensor([[[[[1.0, -4.0]], [[0.0, 2.0]]]], [[[[3.0, -2.0]], [[-1.0, 6.0]]]]])
BOTH, FIRST = torch.tensor([[True], [True]]), torch.tensor([[True], [False]])


@pytest.mark.parametrize(
    ("fusion", "both", "first"),
    [
        ("max", [[3, -2], [0, 6]], [[1, -4], [0, 2]]),
        ("mean", [[2, -3], [-0.5, 4]], [[1, -4], [0, 2]]),
        ("hemis", [[2, -3], [-0.5, 4], [1, 1], [0.25, 4]], [[1, -4], [0, 2], [0, 0], [0, 0]]),
        ("output_mean", [[2, -3], [-0.5, 4]], [[1, -4], [0, 2]]),
    ],
)
def test_latent_images_are_fused_by_hand(fusion, both, first):
    """Eq. 1, 5 and 6; what stands where an input lacks must not matter, not even when it is larger."""
    fuse = network(fusion=fusion).fuse
    assert fuse(LATENT, BOTH)[0, :, 0].tolist() == both
    assert fuse(LATENT, FIRST)[0, :, 0].tolist() == first
    moved = LATENT.clone()
    moved[1] = 100
    assert fuse(moved, FIRST)[0, :, 0].tolist() == first


def test_output_mean_averages_what_each_input_is_decoded_to():
    net = network(fusion="output_mean")
    latents = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    present = torch.tensor([[True, True, False], [True, False, True]])
    with torch.no_grad():
        result = net.decode_fused(latents, present, 2)
        one, other = (net.decoders["2"](latent)[:, 0] for latent in latents)
    torch.testing.assert_close(result[0], (one[0] + other[0]) / 2)
    torch.testing.assert_close(result[1:], torch.stack([one[1], other[2]]))


def test_hemis_has_half_the_channels_per_input():
    assert network(fusion="hemis").encoders["0"].latent[0].out_channels == 2
    assert network(fusion="max").encoders["0"].latent[0].out_channels == 4
    with pytest.raises(UserError, match=r"latent_channels: 3 is odd"):
        build_model("latent_synthesis", options(fusion="hemis", latent_channels=3), NAMES, (8, 8, 8), 1)


def test_weighted_fusion_is_a_mean_whose_weights_the_encoders_give():
    net = network(fusion="weighted")  # 4 channels of values, 4 of what they count
    assert net.encoders["0"].latent[0].out_channels == 8
    latents = torch.randn(2, 3, 8, 8, 8, generator=torch.Generator().manual_seed(5))
    latents[1, :, 4:] = latents[0, :, 4:] + np.log(3)
    fused = net.fuse(latents, torch.tensor([[True, True, False], [True, False, True]]))
    values = latents[:, :, :4]
    torch.testing.assert_close(fused[0], 0.25 * values[0, 0] + 0.75 * values[1, 0])
    torch.testing.assert_close(fused[1:], torch.stack([values[0, 1], values[1, 2]]))
    torch.testing.assert_close(net.alone(latents[0]), values[0])
    # the variance (c2) is that of the values
    volumes = random_volumes()
    slices, has = net._cut(net.normalise(volumes)[0], "axial")
    encoded = net.latents(slices, has)[0][:, :, :4, : slices.shape[2], : slices.shape[3]]
    cost = net.slice_costs(slices, has, [2], frozenset({"c2"})).sum(dim=1)
    torch.testing.assert_close(cost, encoded.var(dim=0, correction=0).mean(dim=(1, 2, 3)))


# ---------------------------------------------------------------------------------------- costs


def by_hand(net, volumes):
    """Each slice's c1, c2, c3 (eq. 2-4), written with loops; inputs t1 and t2, outputs t2 and flair, complete."""
    scaled = volumes / volumes.mean(dim=(2, 3, 4), keepdim=True)
    c1, c2, c3 = [], [], []
    for person in scaled:
        for z in range(person.shape[-1]):
            images = person[:, None, None, :, :, z]  # (modalities, 1, 1, x, y)
            latents = [net.encoders[str(i)](images[i]) for i in (0, 1)]
            c2.append((((latents[0] - latents[1]) / 2) ** 2).mean())
            fused = torch.maximum(*latents)
            single, together = 0.0, 0.0
            for j in (1, 2):
                single += sum((net.decoders[str(j)](z_i) - images[j]).abs().mean() for z_i in latents)
                together += (net.decoders[str(j)](fused) - images[j]).abs().mean()
            c1.append(single / 2)
            c3.append(together / 2)
    return {name: float(torch.stack(parts).mean()) for name, parts in {"c1": c1, "c2": c2, "c3": c3}.items()}


def test_each_cost_by_hand():
    volumes = random_volumes(shape=(4, 8, 3))
    with torch.no_grad():
        expected = by_hand(network(), volumes)
        for name, value in expected.items():
            kept = frozenset({name})
            assert float(network().losses(volumes, costs=kept).mean()) == pytest.approx(value, rel=1e-5)
        losses = network().losses(volumes)
        without = network(costs=["c1", "c3"]).losses(volumes)
        weights = {"c1": 0.5, "c2": 3.0, "c3": 2.0}
        weighted = network(cost_weights=weights).losses(volumes)
    assert losses.shape == (3,)
    assert float(losses[0]) == 0  # no output
    # Training lessens the mean over modalities: that is the paper's sum.
    assert float(losses.mean()) == pytest.approx(sum(expected.values()), rel=1e-5)
    assert float(without.mean()) == pytest.approx(expected["c1"] + expected["c3"], rel=1e-5)
    total = sum(weights[name] * value for name, value in expected.items())
    assert float(weighted.mean()) == pytest.approx(total, rel=1e-5)


def test_a_missing_input_or_output_is_left_out_of_the_costs():
    volumes = random_volumes(people=1)
    lacking = volumes.clone()
    lacking[0, 1] = torch.nan
    net = network()
    with torch.no_grad():
        losses = net.losses(lacking)
        scaled = as_slices(volumes / volumes.mean(dim=(2, 3, 4), keepdim=True), "axial")
        padded = torch.nn.functional.pad(scaled, (0, 0, 0, 2), mode="replicate")
        decoded = net.decoders["2"](net.encoders["0"](padded[:, :1]))[:, 0, :6]
        error = (decoded - scaled[:, 2]).abs().mean()
    assert losses[:2].tolist() == [0, 0]
    # n = 1, m = 1: c1 and c3 are the same error, c2 is 0.
    assert float(losses.mean()) == pytest.approx(2 * float(error), rel=1e-5)


def test_nothing_depends_on_a_missing_volume_and_gradients_are_finite():
    net = network(inputs=(0, 1), outputs=(1, 2)).train()
    volumes = random_volumes(people=3)
    volumes[0, 1] = torch.nan
    volumes[1, 0] = torch.nan
    volumes[2, 2] = torch.nan
    net.losses(volumes).mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())


def test_an_encoder_without_anybody_has_a_gradient_of_zero():
    net = network().train()
    volumes = random_volumes()
    volumes[:, 1] = torch.nan
    net.losses(volumes).mean().backward()
    assert all((p.grad == 0).all() for p in net.encoders["1"].parameters())
    assert any(p.grad.abs().sum() > 0 for p in net.encoders["0"].parameters())


def test_a_step_draws_slices_that_are_not_empty_and_evaluation_takes_all():
    net = network(slices_per_step=4)
    volumes = random_volumes(shape=(8, 8, 12))
    volumes[..., 6:] = 0
    seen = []
    whole = net.slice_costs
    net.slice_costs = lambda slices, *rest: seen.append(slices) or whole(slices, *rest)
    with torch.no_grad():
        net.train()
        torch.manual_seed(1)
        first = net.losses(volumes)
        second = net.losses(volumes)
        torch.manual_seed(1)
        again = net.losses(volumes)
        net.eval()
        held = [net.losses(volumes) for _ in range(2)]
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert [len(slices) for slices in seen] == [4, 4, 4, 24, 24]
    assert all((slices.flatten(1).sum(dim=1) > 0).all() for slices in seen[:3])
    assert torch.equal(held[0], held[1])


# ------------------------------------------------------------------------------------------ use


def model_of(shape=(6, 8, 5), seed=1, names=NAMES, **given):
    """An untrained model whose outputs stay clear of the limits 0 and 1."""
    model = build_model("latent_synthesis", options(**given), names, shape, seed)
    model.network.scale.fill_(0.3)
    for decoder in model.network.decoders.values():
        torch.nn.init.ones_(decoder.last.bias)
        torch.nn.init.normal_(decoder.last.weight, std=0.05, generator=torch.Generator().manual_seed(2))
    return model


@pytest.mark.parametrize("fusion", ["max", "mean", "hemis", "output_mean", "weighted"])
def test_any_subset_of_inputs_on_any_grid(fusion):
    model = model_of(shape=(5, 7, 3), fusion=fusion, outputs=["flair"], inputs=["t1", "t2"])
    volumes = random_volumes(people=3, shape=(5, 7, 3)).numpy()
    volumes[1, 0] = volumes[2, 1] = np.nan
    decoded = model.reconstruct(volumes)
    assert decoded.shape == volumes.shape
    assert np.isnan(decoded[:, :2]).all()
    assert np.isfinite(decoded[:, 2]).all()
    assert decoded[:, 2].min() >= 0
    assert decoded[:, 2].max() <= 1
    codes = model.encode(volumes)
    assert codes.shape == (3, model.code_size) == (3, 4 * 8)
    assert np.isfinite(codes).all()
    # Everybody by themselves gives the same, again and again.
    for person in range(3):
        alone = volumes[person : person + 1]
        np.testing.assert_allclose(model.reconstruct(alone), decoded[person : person + 1], atol=1e-5)
        np.testing.assert_allclose(model.encode(alone), codes[person : person + 1], atol=1e-4)
    np.testing.assert_array_equal(model.encode(volumes), codes)
    with_nothing = volumes.copy()
    with_nothing[1, 1] = np.nan
    with pytest.raises(UserError, match=r"none of the inputs \(t1, t2\)"):
        model.encode(with_nothing)


def test_the_output_itself_is_never_looked_at_unless_it_is_an_input():
    model = model_of(inputs=["t1", "t2"], outputs=["flair"])
    volumes = random_volumes().numpy()
    hidden = volumes.copy()
    hidden[:, 2] = np.nan
    np.testing.assert_array_equal(model.reconstruct(volumes)[:, 2], model.reconstruct(hidden)[:, 2])
    changed = volumes.copy()
    changed[:, 1] = changed[:, 1, ::-1]
    assert np.abs(model.reconstruct(changed)[:, 2] - model.reconstruct(volumes)[:, 2]).max() > 1e-3


def test_the_scale_is_the_persons_own_where_known_else_the_training_peoples():
    model = model_of(inputs=["t1", "t2"], outputs=["t2", "flair"])
    model.network.scale.copy_(torch.tensor([0.1, 0.2, 0.3]))
    volumes = random_volumes().numpy()
    units = model.synthesise(volumes)
    own = volumes[:, 1].mean(axis=(1, 2, 3))[:, None, None, None]
    decoded = model.reconstruct(volumes)
    np.testing.assert_allclose(decoded[:, 1], np.clip(units[:, 1] * own, 0, 1), rtol=1e-5)
    np.testing.assert_allclose(decoded[:, 2], np.clip(units[:, 2] * 0.3, 0, 1), rtol=1e-5)
    volumes[:, 1] = np.nan
    np.testing.assert_allclose(
        model.reconstruct(volumes)[:, 1], np.clip(model.synthesise(volumes)[:, 1] * 0.2, 0, 1), rtol=1e-5
    )
    # Units are those of the mean: an input twice as bright is the same input.
    bright = random_volumes().numpy()
    np.testing.assert_allclose(model.synthesise(bright / 2), model.synthesise(bright), atol=1e-5)


def test_the_embedding_is_the_fused_latent_image_averaged_over_blocks():
    model = model_of(shape=(8, 4, 6), code_grid=[2, 1, 3], inputs=["t1"], latent_channels=2)
    volumes = random_volumes(people=1, shape=(8, 4, 6))
    scaled = volumes / volumes.mean(dim=(2, 3, 4), keepdim=True)
    with torch.no_grad():
        latent = model.network.encoders["0"](as_slices(scaled, "axial")[:, :1])  # (6, 2, 8, 4)
    blocks = latent.reshape(3, 2, 2, 2, 4, 4).mean(dim=(1, 4, 5))  # (z, channel, x)
    np.testing.assert_allclose(
        model.encode(volumes.numpy())[0], blocks.permute(1, 2, 0).flatten().numpy(), rtol=1e-4
    )


def test_another_plane_than_in_training():
    """Coronal use is axial use of volumes whose y and z are exchanged."""
    model = model_of(shape=(8, 8, 8), outputs=["flair"])
    volumes = random_volumes(shape=(8, 8, 8)).numpy()
    coronal = model.reconstruct(volumes, plane="coronal")[:, 2]
    turned = model.reconstruct(volumes.swapaxes(3, 4))[:, 2].swapaxes(2, 3)
    np.testing.assert_allclose(coronal, turned, atol=1e-5)
    assert np.abs(coronal - model.reconstruct(volumes)[:, 2]).max() > 1e-3


def test_the_plane_of_synthesis_can_be_set_apart_from_that_of_training():
    volumes = random_volumes(shape=(8, 8, 8))
    usual, turned = network(), network(test_plane="coronal")
    assert turned.plane == "axial"
    torch.testing.assert_close(
        turned.synthesise(volumes), usual.synthesise(volumes, "coronal"), equal_nan=True
    )
    torch.testing.assert_close(turned.losses(volumes), usual.losses(volumes))
    torch.testing.assert_close(turned.encode(volumes), usual.encode(volumes))


def test_subsets_are_drawn_from_the_inputs_that_are_there():
    net = network(inputs=(0, 1, 2, 3, 4), outputs=(5,), modalities=6, fuse_subsets=True)
    present = torch.rand(5, 4000, generator=torch.Generator().manual_seed(1)) < 0.7
    drawn = net.draw_subsets(present)
    assert not (drawn & ~present).any()
    torch.testing.assert_close(net.draw_subsets(present), drawn)  # in evaluation
    number, kept = present.sum(dim=0), drawn.sum(dim=0)
    assert (kept[number <= 2] == number[number <= 2]).all()
    sizes = kept[number == 5].bincount(minlength=6) / (number == 5).sum()
    torch.testing.assert_close(sizes, torch.tensor([0, 0, 1, 1, 1, 0]) / 3, atol=0.05, rtol=0)
    shares = drawn[:, number == 5].float().mean(dim=1)
    torch.testing.assert_close(shares, torch.full((5,), 0.6), atol=0.05, rtol=0)
    net.train()
    assert not torch.equal(net.draw_subsets(present), net.draw_subsets(present))


def test_the_cost_of_fused_subsets_by_hand():
    given = {"inputs": (0, 1, 2), "outputs": (3,), "modalities": 4, "costs": ["c3"]}
    paper, ours = network(**given), network(**given, fuse_subsets=True)
    volumes = random_volumes(modalities=4)
    slices, has = ours._cut(ours.normalise(volumes)[0], "axial")
    latents, present = ours.latents(slices, has)
    drawn = ours.draw_subsets(present)
    assert (drawn.sum(dim=0) == 2).all()
    images = ours.decode_fused(latents, drawn, 3)[:, : slices.shape[2], : slices.shape[3]]
    subset = (images - slices[:, 3]).abs().mean(dim=(1, 2))
    whole = paper.slice_costs(slices, has, [3], frozenset({"c3"}))[:, 3]
    torch.testing.assert_close(
        ours.slice_costs(slices, has, [3], frozenset({"c3"}))[:, 3], (whole + subset) / 2
    )


def test_a_lesion_mask_goes_into_every_encoder():
    model = model_of(names=("t1", "t2", "lesions"), mask_input="lesions")
    assert (model.inputs, model.outputs) == (["t1", "t2"], ["t1", "t2"])
    assert all(model.network.encoders[key].down1[0].in_channels == 2 for key in ("0", "1"))
    volumes = random_volumes().numpy()
    volumes[0, 2], volumes[1, 2] = 0, np.nan
    lesion = np.zeros((6, 8, 5), np.float32)
    lesion[2:4, 3:5, 2] = 1
    changed = volumes.copy()
    changed[:, 2] = lesion
    before, after = model.reconstruct(volumes), model.reconstruct(changed)
    changed = np.abs(after[:, :2] - before[:, :2]).max(axis=(0, 1, 2, 3))
    assert changed[2] > 1e-4  # the lesion's slice, of who has no mask too
    np.testing.assert_array_equal(changed[[0, 1, 3, 4]], 0)
    assert np.isnan(after[:, 2]).all()
    # An absent mask counts as no lesion, and the mask is not divided by its mean.
    without = volumes.copy()
    without[:, 2] = 0
    np.testing.assert_array_equal(model.reconstruct(without)[:, :2], before[:, :2])
    with_lesion = np.broadcast_to(lesion, volumes.shape).copy()
    assert float(model.network.normalise(torch.from_numpy(with_lesion))[0][:, 2].max()) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inputs": ["pet"]}, "options.inputs: 'pet' is none of the experiment's modalities"),
        ({"mask_input": "pet"}, "options.mask_input: 'pet' is none"),
        ({"mask_input": "t1", "inputs": ["t1"]}, "'t1' is the mask_input"),
        ({"added_outputs": ["pet"]}, "options.added_outputs: 'pet' is none"),
        ({"outputs": ["t2"], "added_outputs": ["t2"]}, "of which one at least is trained before"),
        ({"outputs": ["t2"], "added_outputs": ["flair"]}, "these are some of options.outputs"),
        ({"costs": ["c2"]}, "c2 alone trains no decoder"),
        ({"code_grid": [2, 2, 9]}, "2x2x9 blocks are more"),
    ],
)
def test_options_that_do_not_go_together_are_named(given, message):
    with pytest.raises(UserError, match=message):
        model_of(**given)


# ------------------------------------------------------------------------------------- learning


def toy_people(folder, drop=()):
    """Sixteen people; flair is bright where t1 and t2 are dark. `drop`: (subject, modality) that are taken away."""
    paths = toy_volumes(folder, people=16, side=12, modalities=NAMES)
    arrays = [np.load(path) for path in paths]
    np.save(paths[2], (5 - 2 * arrays[0] - arrays[1] / 2).astype(np.float32))
    opened = open_volumes(paths, NAMES)
    for subject, modality in drop:
        opened[NAMES.index(modality)].row.pop(subject)
    scaling = {"t1": (0, 2), "t2": (0, 4), "flair": (0, 6)}
    limits = {name: {"low": float(low), "high": float(high)} for name, (low, high) in scaling.items()}
    return VolumeSet(opened, opened[0].info["subjects"], limits, incomplete=bool(drop))


LEARNING = {"channels": [8, 8, 8], "decoder_channels": 8, "slices_per_step": 24}


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return toy_people(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def fitted(people):
    given = options(**LEARNING, inputs=["t1", "t2"], outputs=["flair"])
    model = build_model("latent_synthesis", given, NAMES, (12,) * 3, 1)
    learning = people.subset(range(12))
    model.history = model.fit(learning, toy_mask(12), training(epochs=30, learning_rate=5e-3), Machine())
    return model


def in_units_of_means(people, modality, members):
    images = np.stack([people[i][modality] for i in members])
    return images / images.mean(axis=(1, 2, 3), keepdims=True)


def test_it_learns_to_synthesise_people_it_has_not_seen(people, fitted):
    unseen = np.stack([people[i] for i in range(12, 16)])
    unseen[:, 2] = np.nan
    real = in_units_of_means(people, 2, range(12, 16))
    mean = in_units_of_means(people, 2, range(12)).mean(axis=0)
    error = np.mean((fitted.synthesise(unseen)[:, 2] - real) ** 2)
    assert error < 0.5 * np.mean((mean - real) ** 2)
    one, both = unseen.copy(), error
    one[:, 1] = np.nan
    assert both < np.mean((fitted.synthesise(one)[:, 2] - real) ** 2) < np.mean((mean - real) ** 2)
    history = fitted.history
    assert {"validation_loss", "loss_flair"} <= set(history)
    assert history["validation_loss"].min() < 0.5 * history["validation_loss"].iloc[0]
    np.testing.assert_allclose(
        fitted.network.scale.numpy(),
        np.mean([people[i].mean(axis=(1, 2, 3)) for i in range(12)], axis=0),
        rtol=1e-5,
    )


def test_the_same_seed_gives_the_same_weights(people):
    def run():
        model = build_model("latent_synthesis", options(inputs=["t1"]), NAMES, (12,) * 3, 1)
        model.fit(people.subset(range(4)), toy_mask(12), training(epochs=2), Machine())
        return model.weights()

    one, other = run(), run()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_people_who_lack_modalities_take_part(tmp_path, capsys):
    people = toy_people(
        tmp_path, drop=[("01", "t1"), ("02", "t2"), ("03", "flair"), ("04", "t1"), ("04", "t2")]
    )
    model = model_of(shape=(12,) * 3, inputs=["t1", "t2"], outputs=["flair"])
    history = model.fit(people.subset(range(6)), toy_mask(12), training(epochs=2), Machine())
    assert np.isfinite(history["loss"]).all()
    assert "left out, having no input or no output: 03, 04" in capsys.readouterr().err
    assert np.isfinite(model.network.scale).all()
    nobody = toy_people(tmp_path / "nobody", drop=[(f"{i:02d}", "t2") for i in range(1, 17)])
    with pytest.raises(UserError, match="none of the training people has 't2'"):
        model.fit(nobody, toy_mask(12), training(epochs=1), Machine())


def test_several_gpus_draw_a_steps_slices_together_and_one_trains_the_added_outputs(people, monkeypatch):
    """The processes of the other GPUs end with the first training."""
    found = []

    def train_network(model, network, smallest, learning, how, machine, *rest, **more):
        inner = getattr(network, "network", network)
        found.append((type(network).__name__, inner.slices_per_step, machine.accelerators))
        return pd.DataFrame({"epoch": [1]})

    monkeypatch.setattr(latent_synthesis, "train_network", train_network)
    monkeypatch.setattr(Machine, "accelerators", property(lambda self: self.gpus))
    own = build_model("latent_synthesis", options(added_outputs=["t2"]), NAMES, people.shape, 1)
    own.fit(people, toy_mask(12), training(), Machine(gpus=3))
    assert found == [("SynthesisNetwork", 5, 3), ("NewDecoder", 16, 1)]
    assert own.network.slices_per_step == 16


def test_added_outputs_are_trained_last_and_change_nothing(people):
    def run(**given):
        model = build_model("latent_synthesis", options(inputs=["t1"], **given), NAMES, (12,) * 3, 1)
        untrained = model.weights()
        history = model.fit(people.subset(range(4)), toy_mask(12), training(epochs=3), Machine())
        return model, untrained, history

    alone, _, _ = run(outputs=["flair"])
    both, before, history = run(outputs=["t2", "flair"], added_outputs=["t2"])
    assert (both.outputs, both.network.outputs) == (["t2", "flair"], [1, 2])
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert (history["loss_t2"][:3] == 0).all()
    assert (history["loss_t2"][3:] > 0).all()
    weights = both.weights()
    assert any(not np.array_equal(weights[n], before[n]) for n in weights if n.startswith("decoders.1."))
    assert np.isfinite(both.synthesise(np.stack([people[5]]))[:, 1:]).all()
    assert set(weights) - set(alone.weights()) == {n for n in weights if n.startswith("decoders.1.")}
    assert all(parameter.requires_grad for parameter in both.network.parameters())


def test_the_output_offset_is_the_mean_of_those_whom_each_training_learns_from(tmp_path, monkeypatch):
    """Held-out people choose the epoch: with a share in the mean they would be decoded better than new people."""
    people = toy_people(tmp_path, drop=[("01", "flair"), ("02", "t2"), ("03", "t1"), ("07", "flair")])
    trained = []

    def train_network(model, network, smallest, learning, how, machine, *rest, held_out=None, **more):
        held_out = held_out or rest[1]
        image = getattr(network, "network", network).offset.image
        trained.append((learning.subjects, held_out.subjects, image.numpy().copy()))
        return pd.DataFrame({"epoch": [1]})

    def mean(modality, subjects):
        images = [people[people.subjects.index(s)][modality].astype(np.float64) for s in subjects]
        return np.mean([image / image.mean() for image in images if np.isfinite(image).all()], axis=0)

    monkeypatch.setattr(latent_synthesis, "train_network", train_network)
    given = options(
        inputs=["t1"], added_outputs=["t2"], output_offset="mean", validation_fraction=0.25, patience=1
    )
    model = build_model("latent_synthesis", given, NAMES, people.shape, 1)
    model.fit(people, toy_mask(12), training(), Machine())
    (first, out_first, before), (later, out_later, after) = trained
    assert set(out_first) - set(out_later)
    assert not set(first) & set(out_first)
    for modality in (0, 2):
        np.testing.assert_allclose(before[modality], mean(modality, first), rtol=1e-4)
        np.testing.assert_array_equal(after[modality], before[modality])
    np.testing.assert_allclose(after[1], mean(1, later), rtol=1e-4)
    assert np.abs(after[1] - mean(1, [*later, *out_later])).max() > 1e-3


def over_maxima(people, shift=0.0):
    """The same people, each volume over its largest absolute value."""
    volumes = [dataclasses.replace(v, array=np.array(v.array) - np.float32(shift)) for v in people.volumes]
    return VolumeSet(volumes, people.subjects, {}, maximum=True)


def test_over_the_maximum_and_then_over_the_mean_is_the_volume_over_its_mean(people):
    """V, pre-processing: "dividing each volume by its average intensity"; nothing is subtracted or cut before."""
    model = model_of(names=NAMES, shape=(12,) * 3)
    scaled = torch.from_numpy(np.stack([over_maxima(people)[i] for i in range(16)]))
    raw = np.stack([volume.array for volume in people.volumes], axis=1) * toy_mask(12)
    expected = raw / raw.mean(axis=(2, 3, 4), keepdims=True)
    normalised, _ = model.network.normalise(scaled)
    np.testing.assert_allclose(normalised, expected, rtol=1e-4, atol=1e-5)
    by_limits, _ = model.network.normalise(torch.from_numpy(np.stack([people[i] for i in range(16)])))
    assert np.abs(by_limits.numpy() - expected).max() > 0.1  # cut at the limits


def test_it_learns_from_volumes_over_their_maxima_unless_these_have_no_mean(people):
    model = model_of(names=NAMES, shape=(12,) * 3)
    some = over_maxima(people).subset(range(4))
    model.fit(some, toy_mask(12), training(epochs=1), Machine())
    assert model.maximum
    np.testing.assert_allclose(
        model.network.scale.numpy(),
        np.mean([some[i].mean(axis=(1, 2, 3)) for i in range(4)], axis=0),
        rtol=1e-5,
    )
    with pytest.raises(UserError, match=r"subject 01: the mean of 't1' is not above 0"):
        model.fit(over_maxima(people, shift=9), toy_mask(12), training(epochs=1), Machine())
