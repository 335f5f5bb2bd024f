"""The digits that are asked for in words."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import guidegym as gg
from guidegym.errors import DataNotFoundError, GuideGymError
from guidegym.networks.weights import read_metadata
from guidegym.support.text_encoder import MINILM, embed
from guidegym.testbeds import digits_from_words
from guidegym.testbeds.digits_words import DIGITS_WORDS, PROMPTS
from guidegym.testbeds.images import WEIGHTS
from guidegym.train_models import main as train_models

UNSEEN = ("somebody wrote the numeral {}", "an image that shows {}", "what does {} look like on paper?")


def _accuracy(model: gg.Model, weight: float, digits: torch.Tensor) -> float:
    guidance = gg.Guidance(gg.ClassifierFree(), gg.Constant(weight), base_model=gg.ConditionalDenoiser())
    labels = torch.arange(model.num_classes).repeat(6)
    samples = gg.sample(model, guidance, labels=labels, sampler=gg.DDIM(10, eta=1.0))
    judged = gg.load_testbed("digits").seen(samples.x).logits.argmax(dim=1)
    return float((judged == digits[labels]).double().mean())


def test_the_testbed_draws_what_its_prompts_say_and_guidance_helps() -> None:
    testbed = gg.load_testbed("digits-words")
    assert testbed.class_names == PROMPTS
    assert not {*PROMPTS} & {text for own in DIGITS_WORDS.texts for text in own}
    plain, guided = (_accuracy(testbed, weight, torch.arange(10)) for weight in (0.0, 2.0))
    assert plain > 0.85
    assert guided > 0.95


def test_shipped_embeddings_are_the_encoder_s() -> None:
    shipped = load_file(WEIGHTS / "digits-words" / "prompts.safetensors")["embeddings"]
    torch.testing.assert_close(shipped, embed(PROMPTS, MINILM), atol=1e-5, rtol=1e-5)


def test_words_that_training_never_saw_are_understood() -> None:
    names = gg.load_testbed("digits").class_names
    prompts = [template.format(word) for template in UNSEEN for word in names]
    seen = {text for own in DIGITS_WORDS.texts for text in own}
    assert not seen & set(prompts)
    assert _accuracy(digits_from_words(prompts), 2.0, torch.arange(10).repeat(3)) > 0.8


def test_a_prompt_is_the_row_s_own_and_minus_one_is_none() -> None:
    model = digits_from_words(["the number four", "the digit 9"])
    network = model.conditionals["conditional"]
    x, t = (
        torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).repeat(3, 1, 1, 1),
        torch.full((3,), 500.0),
    )
    four, nine, nothing = network(x, t, torch.tensor([0, 1, -1]))
    assert float((four - nine).abs().max()) > 1e-2
    alone = network(x[:1], t[:1], torch.tensor([-1]))[0]
    torch.testing.assert_close(nothing, alone, atol=1e-5, rtol=1e-4)
    finished = gg.Finished(x, torch.tensor([1, 0, 1]), model)
    assert finished.texts == ["the digit 9", "the number four", "the digit 9"]


@pytest.mark.parametrize("prompts", [[], ["one", "one"], "one"])
def test_prompts_that_are_no_list_of_different_ones_are_refused(prompts: list[str]) -> None:
    with pytest.raises(GuideGymError, match="`prompts` must be a list of different prompts"):
        digits_from_words(prompts)


def test_the_network_is_trained_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--testbed", "digits-words", "--steps", "3", "--out", str(tmp_path)]
    assert train_models([*flags, "--list"]) == 0
    assert capsys.readouterr().out.startswith("text  mean squared error of the velocity")
    assert train_models(flags) == 0
    assert read_metadata(tmp_path / "text.safetensors")["training"]["testbed"] == "digits-words"
    testbed = gg.load_testbed("digits-words", weights=tmp_path)
    assert testbed.identity != gg.load_testbed("digits-words").identity
    with pytest.raises(DataNotFoundError, match="train text into that folder"):
        gg.load_testbed("digits-words", weights=tmp_path / "nowhere")
