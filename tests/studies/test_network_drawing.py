"""The drawing shows the shapes of the real network."""

from __future__ import annotations

import re

import pytest
import torch

from leadwise.network.se_resnet import SEResNet
from leadwise.recipes import RECIPES
from leadwise.report.sheet.paper import figure_bytes
from studies.network_drawing import draw_network, layer_shapes


@pytest.mark.parametrize("name", ["paper", "quick"])
def test_the_drawing_shows_the_shapes_of_the_network(name: str) -> None:
    recipe = RECIPES[name]
    with torch.inference_mode():
        network = SEResNet(recipe.network).eval()
        x = torch.zeros(1, 12, recipe.signal.window)
        shapes = [tuple(x.shape[1:]), tuple((x := network.stem(x)).shape[1:])]
        for block in network.blocks:
            shapes.append(tuple((x := block(x)).shape[1:]))
    assert [shape[1:] for shape in layer_shapes(recipe)] == shapes
    svg = figure_bytes(draw_network(recipe), "svg").decode()
    for channels, samples in shapes:
        assert f"{channels} × {samples}" in svg
    assert re.search(r"<title>The network of recipe", svg)
