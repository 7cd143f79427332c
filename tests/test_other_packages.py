"""docs/vectors.md: vectors go to other packages and come from them, and give the loss that they give here."""

import re
import runpy
import warnings

import pytest
from safetensors.torch import load_file

import replication
from replication.base.paths import REPOSITORY

PAGE = (REPOSITORY / "docs/vectors.md").read_text(encoding="utf-8")
PROMPT = "I hate you because you're a wonderful person"
OTHERS = {"TransformerLens": "transformer_lens", "steering-vectors": "steering_vectors", "nnsight": "nnsight"}


def piece(name: str) -> str:
    """The code below a package's heading."""
    return re.search(rf"^### {name} .*?^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[1]


@pytest.mark.parametrize("name", OTHERS)
def test_the_page_has_a_piece_for_each_and_it_compiles(name):
    compile(piece(name), name, "exec")


@pytest.mark.parametrize("name", OTHERS)
def test_a_vector_goes_there_and_comes_from_there(name, tmp_path, monkeypatch):
    """Install one beside this package (`pip install transformer-lens==4.3.0`) to run it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(OTHERS[name], reason=f"{name} is not installed")
        model = replication.load("miniature")
        monkeypatch.chdir(tmp_path)
        code = piece(name).replace(
            '"replication/miniature/model"', repr(str(REPOSITORY / "replication/miniature/model"))
        )
        # nnsight reads a trace's code from the file that it stands in.
        (tmp_path / "piece.py").write_text(code, encoding="utf-8")
        found = runpy.run_path(str(tmp_path / "piece.py"))
    file = next(tmp_path.glob("*.safetensors"))
    ours = replication.steer(model, PROMPT, vector=file).loss(" wonderful")
    target = model.loaded.tokenizer.encode(" wonderful")[0]
    theirs = -float(found["logits"][0, 7].log_softmax(-1)[target])
    assert theirs == pytest.approx(ours["steered"], abs=1e-4)
    assert abs(ours["change"]) > 1  # it steers at all
    if name != "steering-vectors":  # what is read there is what is read here
        own = replication.steer(model, PROMPT, added="Love", subtracted="Hate", layer=6, coefficient=5)
        assert abs(load_file(file)["vector"].numpy() - own.vector).max() < 1e-4
