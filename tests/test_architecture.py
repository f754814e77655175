"""The page of the architecture draws what the code has."""

import re
import tomllib
from enum import Enum
from pathlib import Path

import pytest

from batchpush.campaigns.state import CampaignState as OfCampaign
from batchpush.delivery.record import DeliveryState as OfDelivery
from tests.tables import table

PAGE = Path("docs/architecture.md").read_text(encoding="utf-8")
LINTER = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
RANKS = {
    name: rank
    for rank, layer in enumerate(LINTER["contracts"][0]["layers"])
    for name in layer.split(" | ")
}
FOLDERS = {file.parent.name for file in Path("batchpush").glob("*/__init__.py")}


@pytest.mark.parametrize(
    ("mark", "states"), [("a delivery", OfDelivery), ("a campaign", OfCampaign)]
)
def test_every_state_is_drawn(mark: str, states: type[Enum]) -> None:
    (diagram,) = re.findall(rf"<!-- states of {mark} -->\n```mermaid\n(.*?)```", PAGE, re.DOTALL)
    assert set(re.findall(r"\b[A-Z]{2,}\b", diagram)) == {state.value for state in states}


def test_the_table_has_every_folder_in_the_order_of_the_layers() -> None:
    layers = [row[0].strip("`") for row in table(PAGE, header="layer")]
    assert set(layers) == FOLDERS | {"worker"}
    assert [RANKS[layer] for layer in layers] == sorted(RANKS[layer] for layer in layers)


def test_no_arrow_between_the_folders_points_up() -> None:
    arrows = re.findall(r"^    (\w+)(?:\[.*?\])? --> (\w+)", PAGE, re.MULTILINE)
    ranked = [(RANKS[a], RANKS[b]) for a, b in arrows if a in RANKS and b in RANKS]
    assert len(ranked) >= len(FOLDERS)
    assert all(above < below for above, below in ranked)
