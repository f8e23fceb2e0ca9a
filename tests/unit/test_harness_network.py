from itertools import combinations

import pytest

from tests.cluster.harness.errors import HarnessError
from tests.cluster.harness.network import SLOTS, Network
from tests.cluster.harness.paths import State


@pytest.mark.parametrize("slot", [0, 1, SLOTS - 1])
def test_the_ranges_of_a_cluster_do_not_overlap_with_any_others(slot):
    ours = Network(slot)
    others = [Network(other) for other in range(SLOTS) if other != slot]
    ranges = [ours.cable, ours.pods, ours.services]
    assert not any(one.overlaps(other) for one, other in combinations(ranges, 2))
    theirs = [each for other in others for each in (other.cable, other.pods, other.services)]
    assert not any(one.overlaps(other) for one in ranges for other in theirs)


def test_both_ends_of_the_cable_are_hosts_of_its_range():
    network = Network(3)
    assert list(network.cable.hosts()) == [network.host, network.node]


def test_there_are_only_so_many_slots():
    with pytest.raises(HarnessError, match="are the most on one machine"):
        _ = Network(SLOTS).node


@pytest.mark.parametrize("name", ["", "a", "Demo", "-demo", "demo-", "1demo", "a" * 12, "de/mo", ".."])
def test_a_name_that_cannot_name_a_device_or_folder_is_refused(name):
    with pytest.raises(HarnessError, match="does not fit"):
        State(name)


@pytest.mark.parametrize("name", ["demo", "test", "bench", "harness-b", "a" * 11])
def test_a_name_that_fits_has_its_own_folder(name):
    assert State(name).root.name == name
