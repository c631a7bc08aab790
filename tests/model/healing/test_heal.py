"""A heal trains what the merge keeps, lowers the loss, and goes on where it was stopped."""

from dataclasses import replace

import pytest
import torch
from families import all_but, cut, linear_names, logits, random_masks, small, tokens
from healing_cases import LORA, RECIPE, WINDOWS, narrow, student, trained

from birdbone.errors import ConfigError, NumericalError
from birdbone.model.head import hidden_states
from birdbone.model.healing.heal import FULL_RATE_LOSS, heal, loss_on
from birdbone.model.healing.trainable import merge, with_lora
from birdbone.model.network import build

CHECK = tokens(rows=3, length=16, seed=5)


def healed(checkpoint, recipe=RECIPE, lora=LORA, check=WINDOWS, **how):
    return heal(student(checkpoint, lora), small(), WINDOWS, check, recipe, **how)


def test_masked_weights_are_exactly_zero_after_a_heal():
    checkpoint = random_masks(narrow())
    found = healed(checkpoint)
    assert found.kept > 0
    result = found.checkpoint
    for name in linear_names(checkpoint):
        mask = checkpoint.masks.weights[name]
        assert (result.weights[name][~mask] == 0).all()
        assert not torch.equal(result.weights[name], checkpoint.weights[name])


def test_the_loss_goes_down():
    curve = healed(narrow(), replace(RECIPE, steps=20)).curve
    start, end = (sum(row["loss"] for row in rows) / 4 for rows in (curve[:4], curve[-4:]))
    assert end < 0.9 * start
    assert [row["step"] for row in curve] == list(range(20))
    assert all(row["loss"] == pytest.approx(row["kl"] + 0.1 * row["ce"], rel=1e-5) for row in curve)


def test_all_weights_learn_under_their_masks_and_the_input_is_not_touched():
    checkpoint = random_masks(narrow())
    before = {n: w.clone() for n, w in checkpoint.weights.items()}
    found = healed(checkpoint, replace(RECIPE, steps=20, learning_rate=1e-3), None)
    result, curve = found.checkpoint, found.curve
    start, end = (sum(r["loss"] for r in part) for part in (curve[:4], curve[-4:]))
    assert end < start
    assert all(torch.equal(checkpoint.weights[n], w) for n, w in before.items())
    for name in linear_names(checkpoint):
        mask = checkpoint.masks.weights[name]
        assert (result.weights[name][~mask] == 0).all()
        assert (result.weights[name][mask] != checkpoint.weights[name][mask]).float().mean() > 0.9


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3_text"])
def test_hidden_states_are_drawn_towards_the_seeds(name):
    recipe = replace(RECIPE, steps=20, learning_rate=1e-3, ce_weight=0)
    start, seed = narrow(name), small(name)
    alone, with_states = (
        heal(student(start, None), seed, WINDOWS, CHECK, replace(recipe, state_weight=w)).curve
        for w in (0.0, 5.0)
    )
    assert (
        all(row["states"] == 0 for row in alone)
        and with_states[-1]["states"] < 0.9 * with_states[0]["states"]
    )
    assert all(
        row["loss"] == pytest.approx(row["kl"] + 5 * row["states"], rel=1e-5) for row in with_states
    )


def test_a_student_that_is_its_own_teacher_is_handed_back_as_it_came():
    seed = small()
    found = healed(seed, replace(RECIPE, ce_weight=0))
    assert found.checkpoint is seed and found.curve == [] and found.kept == 0
    assert healed(seed).curve != []  # cross-entropy pulls it away from itself


def test_healing_changes_linear_layers_alone_and_not_its_inputs():
    checkpoint = narrow()
    before = checkpoint.digest
    result = healed(checkpoint).checkpoint
    assert checkpoint.digest == before
    changed = {n for n, w in result.weights.items() if not torch.equal(w, checkpoint.weights[n])}
    assert changed == set(linear_names(checkpoint))


def test_the_rate_warms_up_and_falls_to_a_tenth():
    curve = healed(narrow(), replace(RECIPE, steps=20)).curve
    rates = [row["lr"] for row in curve]
    assert (
        rates[0] == pytest.approx(RECIPE.learning_rate / 2) and max(rates) == RECIPE.learning_rate
    )
    assert rates[2:] == sorted(rates[2:], reverse=True) and rates[-1] < 0.15 * RECIPE.learning_rate


def check_loss(checkpoint, ce_weight: float) -> float:
    return loss_on(CHECK, checkpoint, small(), ce_weight, "cpu")(build(checkpoint))


def test_check_text_is_read_at_the_start_at_every_checkpoint_and_at_the_end():
    start = narrow()
    found = healed(start, check=CHECK)
    assert [steps for steps, _ in found.checks] == [0, 3, 6, 8]
    assert {row["step"] + 1: row["check"] for row in found.curve if "check" in row} == dict(
        found.checks[1:]
    )
    assert found.checks[0][1] == pytest.approx(check_loss(start, RECIPE.ce_weight), rel=1e-5)


@pytest.mark.parametrize(("rate", "lora"), [(1e-2, LORA), (3e-3, None)])
def test_the_state_that_check_text_likes_best_is_kept(rate, lora):
    recipe = replace(RECIPE, steps=40, learning_rate=rate, ce_weight=0.0)
    found = healed(narrow(), recipe, lora, check=CHECK)
    losses = dict(found.checks)
    assert 0 < found.kept < 40 and losses[found.kept] == min(losses.values()) < losses[40]
    assert losses[found.kept] == pytest.approx(check_loss(found.checkpoint, 0.0), rel=1e-4)


def test_a_heal_that_does_harm_hands_back_what_came():
    start = narrow()
    found = healed(start, replace(RECIPE, learning_rate=3.0), None)
    assert all(loss > found.checks[0][1] for _, loss in found.checks[1:])
    assert found.kept == 0 and found.checkpoint is start


def test_the_nearer_the_teacher_the_smaller_the_rate():
    seed = small()
    near = seed.evolve(
        {n: w * (1 + 1e-3) for n, w in seed.weights.items() if n in linear_names(seed)}
    )
    recipe = replace(RECIPE, ce_weight=0.0)
    found = healed(near, recipe)
    peak = max(row["lr"] for row in found.curve)
    assert (
        0
        < peak
        == pytest.approx(recipe.learning_rate * (found.checks[0][1] / FULL_RATE_LOSS) ** 0.5)
    )
    assert peak < 0.1 * recipe.learning_rate
    assert min(loss for _, loss in found.checks) < found.checks[0][1]


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [1, 4, 7])
@pytest.mark.parametrize("lora", [LORA, replace(LORA, base="nf4"), None])
def test_a_killed_heal_goes_on_to_the_same_bits(tmp_path, at, lora):
    if lora and lora.base == "nf4":
        pytest.importorskip("bitsandbytes")
    recipe = RECIPE if lora else replace(RECIPE, learning_rate=1e-3)
    checkpoint = random_masks(narrow())
    expected = healed(checkpoint, recipe, lora, workdir=tmp_path / "whole")
    seen = []

    def stop(row):
        seen.append(row["step"])
        if row["step"] == at:
            raise Killed

    with pytest.raises(Killed):
        healed(checkpoint, recipe, lora, workdir=tmp_path / "killed", on_step=stop)
    seen.clear()
    resumed = healed(
        checkpoint,
        recipe,
        lora,
        workdir=tmp_path / "killed",
        on_step=lambda row: seen.append(row["step"]),
    )
    assert seen == list(range(at // 3 * 3, 8))
    assert (resumed.curve, resumed.checks) == (expected.curve, expected.checks)
    assert all(
        torch.equal(resumed.checkpoint.weights[n], w)
        for n, w in expected.checkpoint.weights.items()
    )


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    first, again = (healed(narrow()).checkpoint.digest for _ in range(2))
    other = heal(
        student(narrow(), random_seed=1), small(), WINDOWS, CHECK, RECIPE
    ).checkpoint.digest
    assert first == again != other


def test_a_loss_that_is_not_finite_names_the_setting():
    with pytest.raises(
        NumericalError, match="heal: the loss is not finite at step .*lower its learning_rate"
    ):
        healed(narrow(), replace(RECIPE, learning_rate=1e30))


def test_windows_are_used_in_order_and_again_from_the_start():
    recipe = replace(RECIPE, steps=3)
    once = heal(student(narrow()), small(), WINDOWS[:2].repeat(3, 1), CHECK, recipe).curve
    again = heal(student(narrow()), small(), WINDOWS[:2], CHECK, recipe).curve
    assert once == again


def test_the_teacher_reads_windows_that_come_again_once(monkeypatch):
    reads = []

    def counted(network, ids, *between):
        if between:  # check text is read without
            reads.append("student" if torch.is_grad_enabled() else "teacher")
        return hidden_states(network, ids, *between)

    monkeypatch.setattr("birdbone.model.healing.heal.hidden_states", counted)
    again = heal(student(narrow()), small(), WINDOWS, CHECK, replace(RECIPE, steps=5)).curve
    assert reads == ["teacher", "student"] * 2 + ["student"] * 3
    once = heal(
        student(narrow()), small(), WINDOWS.repeat(3, 1), CHECK, replace(RECIPE, steps=5)
    ).curve
    assert again == once


def test_a_student_trains_without_its_familys_dropout(tmp_path):
    seed = small("gpt2")
    assert seed.config["resid_pdrop"] == 0.1
    curve = heal(student(seed), seed, WINDOWS, CHECK, replace(RECIPE, steps=1)).curve
    assert curve[0]["kl"] < 1e-6


class TestOnAnNF4Base:
    """QLoRA on the CPU: bitsandbytes' 4-bit layers under the LoRA."""

    lora = replace(LORA, base="nf4")

    @pytest.fixture(autouse=True)
    def needs_bitsandbytes(self):
        pytest.importorskip("bitsandbytes")

    @pytest.mark.parametrize("name", ["llama-biases", "gpt2", "gemma3_text"])
    @pytest.mark.parametrize("masked", [False, True])
    def test_merging_onto_the_base_has_the_students_logits(self, name, masked):
        checkpoint, lora = narrow(name), replace(self.lora, merge_onto="base")
        checkpoint = random_masks(checkpoint) if masked else checkpoint
        network = trained(checkpoint, lora)
        merged = merge(checkpoint, network, lora)
        torch.testing.assert_close(
            logits(build(merged), WINDOWS), logits(network, WINDOWS), atol=1e-3, rtol=1e-3
        )

    def test_merging_onto_the_weights_adds_the_same_change(self):
        checkpoint = random_masks(narrow())
        network = trained(checkpoint, self.lora)
        onto_weights, onto_base = (
            merge(checkpoint, network, replace(self.lora, merge_onto=m))
            for m in ("weights", "base")
        )
        bases = merge(
            checkpoint,
            with_lora(build(checkpoint), checkpoint, self.lora),
            replace(self.lora, merge_onto="base"),
        )
        for name in linear_names(checkpoint):
            torch.testing.assert_close(
                onto_weights.weights[name] - checkpoint.weights[name],
                onto_base.weights[name] - bases.weights[name],
                atol=1e-5,
                rtol=1e-4,
            )

    def test_the_base_is_near_the_weights_but_not_equal(self):
        checkpoint = narrow()
        lora = replace(self.lora, merge_onto="base")
        untrained = merge(checkpoint, with_lora(build(checkpoint), checkpoint, lora), lora)
        for name in linear_names(checkpoint):
            error = (
                untrained.weights[name] - checkpoint.weights[name]
            ).norm() / checkpoint.weights[name].norm()
            assert 0.05 < error < 0.12

    def test_widths_that_no_block_divides_are_refused(self):
        checkpoint = cut(small(), {0: all_but(128, 0)}, {})
        with pytest.raises(ConfigError, match=r"micro_heal\.base.*not 127"):
            with_lora(build(checkpoint), checkpoint, self.lora)

    @pytest.mark.parametrize("onto", ["weights", "base"])
    def test_it_heals(self, onto):
        checkpoint = random_masks(narrow())
        found = healed(checkpoint, replace(RECIPE, steps=12), replace(self.lora, merge_onto=onto))
        result, curve = found.checkpoint, found.curve
        assert curve[-1]["loss"] < curve[0]["loss"]
        for name in linear_names(checkpoint):
            assert (result.weights[name][~checkpoint.masks.weights[name]] == 0).all()
