"""Words about the machine: features, not names."""

from __future__ import annotations

import platform
import subprocess
import sys

from bantamweight.machine import Machine, describe, features_in, versions


def test_words() -> None:
    machine = Machine("x86_64", 2, ("AVX-512 BF16", "VNNI"), 24, "Linux")
    assert str(machine) == "x86_64, 2 cores, AVX-512 BF16, VNNI, 24 GiB, Linux"
    assert str(Machine("arm64", 1, (), 0, "Darwin")) == "arm64, 1 core, Darwin"


def test_the_widest_unit_of_each_kind() -> None:
    assert features_in("flags: avx2 avx512f avx512_vnni amx_int8") == ("AMX", "AVX-512", "VNNI")
    assert features_in("features: asimd asimddp") == ("NEON", "DOTPROD")
    assert features_in("") == ()


def test_this_machine_is_not_named() -> None:
    said = str(describe())
    assert describe().cores >= 1
    assert not platform.node() or platform.node() not in said
    assert "/" not in said


def test_versions_of_what_is_there() -> None:
    assert versions(["numpy", "no-such-distribution"]).count(",") == 1


def test_no_torch_to_describe_a_machine() -> None:
    code = "import sys; from bantamweight.machine import describe, versions; describe(); versions(); "
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True, timeout=60)
