import torch

from guidegym.diffusion import INITIAL, REVERSE, trajectory_noise
from guidegym.diffusion.noise import MASK, philox


def _words(word: int) -> torch.Tensor:
    return torch.tensor([word])


def test_philox_gives_the_published_known_answers() -> None:
    zero, ones = _words(0), _words(MASK)
    got = [int(word) for word in philox((zero, zero, zero, zero), (zero, zero))]
    assert got == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    got = [int(word) for word in philox((ones, ones, ones, ones), (ones, ones))]
    assert got == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    counter = (_words(0x243F6A88), _words(0x85A308D3), _words(0x13198A2E), _words(0x03707344))
    got = [int(word) for word in philox(counter, (_words(0xA4093822), _words(0x299F31D0)))]
    assert got == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def test_a_row_is_bitwise_the_same_alone_in_a_batch_and_permuted() -> None:
    seeds = torch.tensor([5, 2**40 + 1, 0, 2**62, 7, 8, 9])
    steps = torch.tensor([0, 3, 1, 2, 0, 9, 4])
    batch = trajectory_noise(seeds, steps, (1, 5, 3), stream=REVERSE)
    for row in range(7):
        alone = trajectory_noise(seeds[row : row + 1], steps[row : row + 1], (1, 5, 3), stream=REVERSE)
        assert torch.equal(alone[0], batch[row])
    order = torch.tensor([6, 0, 3, 1, 5, 2, 4])
    assert torch.equal(trajectory_noise(seeds[order], steps[order], (1, 5, 3), stream=REVERSE), batch[order])


def test_seeds_steps_and_streams_give_different_noise() -> None:
    zero, one = torch.tensor([0]), torch.tensor([1])
    base = trajectory_noise(zero, zero, (8,), stream=INITIAL)
    for other in (
        trajectory_noise(one, zero, (8,), stream=INITIAL),
        trajectory_noise(zero + 2**32, zero, (8,), stream=INITIAL),
        trajectory_noise(zero, one, (8,), stream=INITIAL),
        trajectory_noise(zero, zero, (8,), stream=REVERSE),
    ):
        assert not torch.isclose(base, other).any()


def test_noise_is_standard_normal_and_uncorrelated_between_neighbouring_seeds() -> None:
    noise = trajectory_noise(torch.arange(4000), torch.zeros(4000, dtype=torch.long), (50,), stream=INITIAL)
    count = noise.numel()
    assert abs(float(noise.mean())) < 4 / count**0.5
    assert abs(float(noise.var()) - 1) < 4 * (2 / count) ** 0.5
    assert abs(float((noise**4).mean()) - 3) < 4 * (96 / count) ** 0.5
    neighbours = (noise[1:] * noise[:-1]).mean()
    within = (noise[:, 1:] * noise[:, :-1]).mean()
    assert max(abs(float(neighbours)), abs(float(within))) < 5 / count**0.5
