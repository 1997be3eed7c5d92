"""A stranger's file is data: refused with a reason in one sentence, and nothing in it runs."""

from __future__ import annotations

import contextlib
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from bantamweight import variants
from bantamweight.errors import InputError
from bantamweight.loading import load_model
from bantamweight.models import read_weights
from bantamweight.models._program import load_program, read_program
from tests.models.archives import Change, Payload, pickled, rewrite, tampered

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLE = "data/sample_inputs/model.pt"


def refused(path: Path, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def nodes(said: Any) -> list[dict[str, Any]]:
    return said["graph_module"]["graph"]["nodes"]


def test_the_rewritten_archive_is_as_good_as_the_original(program: Path, tmp_path: Path) -> None:
    same = tampered(program, tmp_path / "same.pt2", lambda _: None)
    assert load_model(same).weights.keys() == load_model(program).weights.keys()


def test_a_pickle_in_the_sample_inputs(program: Path, tmp_path: Path, sentinel: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[SAMPLE] = pickled(((Payload(sentinel),), {}))

    refused(
        tampered(program, tmp_path / "bad.pt2", change), r"asks for '(io|_io|builtins)\.open'.*before anything in it"
    )


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bare_pickle_in_the_sample_inputs(program: Path, tmp_path: Path, sentinel: Path, protocol: int) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[SAMPLE] = pickle.dumps(Payload(sentinel), protocol)

    refused(tampered(program, tmp_path / "bad.pt2", change), "to be a zip archive")


@pytest.mark.parametrize(("config", "folder"), [(WEIGHTS, "weights"), (CONSTANTS, "constants")])
def test_a_pickle_among_the_tensors(program: Path, tmp_path: Path, sentinel: Path, config: str, folder: str) -> None:
    def change(members: dict[str, bytes]) -> None:
        entry = {"path_name": f"{folder[:-1].replace('constant', 'tensor')}_9", "is_param": False, "use_pickle": True}
        rewrite(config, lambda said: said["config"].update({"evil": {**entry, "tensor_meta": None}}))(members)
        members[f"data/{folder}/{entry['path_name']}"] = pickled(Payload(sentinel))

    refused(tampered(program, tmp_path / "bad.pt2", change), "keeps 'evil' as a pickle")


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("data/constants/custom_obj_0", "pickled object"),
        ("data/constants/opaque_obj_0", "pickled object"),
        ("data/weights/model.pt", "torch 2.8 and older"),
        ("data/aotinductor/model/model.so", "code that would run"),
        ("setup.py", "code that would run"),
        ("data/evil.pkl", "pickled object"),
        ("models/other.json", "several programs"),
        ("whatever", "no part of a program"),
        ("../../escape", "forged name"),
        ("data/../../escape", "forged name"),
        ("data\\..\\escape", "forged name"),
    ],
)
def test_members_that_a_program_does_not_need(
    member: str, said: str, program: Path, tmp_path: Path, sentinel: Path
) -> None:
    def change(members: dict[str, bytes]) -> None:
        members[member] = pickled(Payload(sentinel))

    refused(tampered(program, tmp_path / "bad.pt2", change), said)
    assert not (tmp_path.parent / "escape").exists()


EVIL = "__import__('pathlib').Path({path!r}).touch()"


@pytest.mark.parametrize("where", ["sizes", "range", "guards", "target", "operator", "string", "layer"])
def test_code_in_the_graph(where: str, program: Path, tmp_path: Path, sentinel: Path) -> None:
    evil = EVIL.format(path=str(sentinel))

    def change(said: Any) -> None:
        graph = said["graph_module"]["graph"]
        if where == "sizes":
            for value in graph["tensor_values"].values():
                for size in value["sizes"]:
                    if "as_expr" in size:
                        size["as_expr"]["expr_str"] = evil
        elif where == "range":
            said["range_constraints"] = {evil: {"min_val": 1, "max_val": 2}}
        elif where == "guards":
            said["guards_code"] = [evil]
        elif where == "target":
            nodes(said)[-1]["target"] = "torch.serialization.os.system"
        elif where == "operator":
            nodes(said)[-1]["inputs"][0]["arg"] = {"as_operator": "torch.hub.load"}
        elif where == "string":
            nodes(said)[-1]["outputs"][0]["as_tensor"]["name"] = f'x"); {evil}; ("'
        else:
            spec = next(spec for spec in said["graph_module"]["signature"]["input_specs"] if "parameter" in spec)
            spec["parameter"]["parameter_name"] = f'x"), {evil}, ("'

    path = tampered(program, tmp_path / "bad.pt2", rewrite(MODEL, change))
    if where in ("range", "guards"):  # never read: such an archive is only odd
        assert load_model(path).weights
    else:
        refused(path, "bad.pt2")


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.set_.source_Tensor",
        "torch.ops.aten.resize_.default",
        "torch.ops.aten.add.out",
        "torch.ops.higher_order.cond",
        "torch.ops.evil.op.default",
        "torch.load",
        "math.comb",
        "_operator.attrgetter",
        "_operator.methodcaller",
    ],
)
def test_operations_that_are_not_on_the_list(target: str, program: Path, tmp_path: Path) -> None:
    path = tampered(program, tmp_path / "bad.pt2", rewrite(MODEL, lambda said: nodes(said)[1].update(target=target)))
    refused(path, "not among the operations|not understood")


def test_a_program_that_would_fill_the_memory(program: Path) -> None:
    plan, _ = read_program(program)
    said = json.loads(plan)
    huge = {"op": "aten.zeros.default", "inputs": {"size": [1 << 40]}, "out": "huge"}
    with pytest.raises(InputError, match="needs over 256 MiB"):
        load_program(json.dumps({**said, "calls": [huge, *said["calls"]]}).encode())
    weights = {**said["weights"], "big": {"name": "big", "shape": [1 << 31], "dtype": "float32", "parameter": True}}
    with pytest.raises(InputError, match="not a light model"):
        load_program(json.dumps({**said, "weights": weights}).encode())
    grow = [{"op": "aten.sym_size.int", "inputs": {"self": {"ref": said["image"]}, "dim": 0}, "out": "n0"}]
    grow += [
        {"op": "_operator.mul", "inputs": {"a": {"ref": f"n{i}"}, "b": {"ref": f"n{i}"}}, "out": f"n{i + 1}"}
        for i in range(60)
    ]
    with pytest.raises(InputError, match=r"beyond 2\^62"):
        load_program(json.dumps({**said, "calls": [*grow, *said["calls"]]}).encode())


@pytest.mark.parametrize("name", ["forward", "_plan", "conv.weight.deep", "input_shape"])
def test_weights_cannot_take_the_names_of_methods(name: str, program: Path) -> None:
    said = json.loads(read_program(program)[0])
    said["weights"]["extra"] = {"name": name, "shape": [1], "dtype": "float32", "parameter": False}
    with pytest.raises(InputError, match="the name is taken"):
        load_program(json.dumps(said).encode())


def test_a_zip_bomb(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.pt2"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data/weights/weight_0", bytes(64 << 20))
    refused(bomb, "would unpack")
    with zipfile.ZipFile(bomb, "w") as archive:
        for number in range(20_001):
            archive.writestr(f"x/{number}", b"")
    refused(bomb, "20,001 files")


def damaged(name: str) -> Change:
    return lambda members: members.update({name: members[name][: len(members[name]) // 2]})


@pytest.mark.parametrize("member", [MODEL, WEIGHTS, "data/weights/weight_0", SAMPLE, "archive_format"])
def test_half_a_member(member: str, program: Path, tmp_path: Path) -> None:
    refused(tampered(program, tmp_path / "half.pt2", damaged(member)), "half.pt2")


@pytest.mark.parametrize("member", [MODEL, WEIGHTS, CONSTANTS, SAMPLE, "archive_format", "data/weights/weight_0"])
def test_a_member_that_is_not_there(member: str, program: Path, tmp_path: Path) -> None:
    refused(tampered(program, tmp_path / "less.pt2", lambda members: members.pop(member) and None), "less.pt2")


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04" + b"\0" * 100, b"\x80\x04N."])
def test_not_an_archive(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.pt2"
    path.write_bytes(data)
    refused(path, "expected 'odd.pt2' to be a zip archive")


def test_half_an_archive(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.pt2"
    path.write_bytes(program.read_bytes()[:-100])
    refused(path, "half.pt2")


def test_flipped_bytes_raise_nothing_else(program: Path, tmp_path: Path) -> None:
    data = program.read_bytes()
    draws = torch.Generator().manual_seed(0)
    path = tmp_path / "flipped.pt2"
    for at in torch.randint(len(data), (40,), generator=draws).tolist():
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        with contextlib.suppress(InputError):
            load_model(path)


def test_json_that_nests_without_end(program: Path, tmp_path: Path) -> None:
    deep = b"[" * 200_000
    refused(tampered(program, tmp_path / "deep.pt2", lambda members: members.update({MODEL: deep})), "not JSON")


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_pickled_weights_that_run_code(suffix: str, tmp_path: Path, sentinel: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(pickled({"conv1.weight": Payload(sentinel)}))
    with pytest.raises(InputError, match="refused before anything in it ran"):
        load_model("resnet20", weights=path)
    path.write_bytes(pickled(torch.nn.Linear(2, 2)))
    with pytest.raises(InputError, match=r"asks for 'torch\.nn\.modules\.linear\.Linear'"):
        read_weights(path)


def test_a_strangers_variant_folder_is_data_too(program: Path, tmp_path: Path) -> None:
    variants.save(load_model(program), tmp_path / "saved")
    plan = json.loads((tmp_path / "saved" / "program.json").read_text())
    plan["calls"][0]["op"] = "aten.from_file.default"
    variant = load_model(tmp_path / "saved")
    with pytest.raises(InputError, match="not among the operations"):
        load_program(json.dumps(plan).encode())
    (tmp_path / "saved" / "program.json").write_text(json.dumps(plan))
    with pytest.raises(InputError, match="hash differs"):
        load_model(tmp_path / "saved")
    assert variant.hash == load_model(program).hash
