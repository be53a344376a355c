"""The report of a real, tiny training: its curve, its sweep where there is one, and why each setting is so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jogak.report.picture_facts import gather
from jogak.report.picture_report import picture_html, picture_pdf, report_data
from jogak.report.training_facts import Curve, curve_said, drawn_curve
from jogak.report.training_words import REASONS, WORDS
from jogak.spec.training import SweepRequest, TrainRequest
from jogak.store import Run, Store
from jogak.studio.sweep import deliver, plan_sweep, sweep
from jogak.studio.train import plan, train
from tests.report.pdf import read_pdf
from tests.tiny_models import make_pocket_like
from tests.tiny_training import make_pictures, request


class Trained:
    """A training of seconds in its folder, and the store that knows of it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.store = Store(place / "store")
        self.base = make_pocket_like(place / "tiny")
        self.pictures = make_pictures(place / "set")

    def train(self, folder: str, **changes: object) -> tuple[Run, Path]:
        output = self.place / folder
        train(self.store, plan(request(self.base, **changes), self.pictures), output)
        return self.store.run_record("last"), output


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("trained"))


def missing(run: Run) -> dict[str, str]:
    return {one.name: one.why for one in gather(run).scores.missing}


@pytest.mark.parametrize("lang", ["ko", "en"])
def test_a_training_shows_its_curve_and_says_what_is_not_measured(trained: Trained, lang: str) -> None:
    run, output = trained.train("alone")
    assert {path.name for path in output.iterdir()} >= {"train.json", "losses.jsonl", "samples"}
    facts = gather(run, lang=lang)  # pyright: ignore[reportArgumentType]
    data, pictures = report_data(facts)
    quality, control, reasoning = data["rubric"]
    assert {bar["name"] for bar in data["quality"]["bars"]} == {
        {"en": "Loss on training pictures, end against beginning", "ko": "학습 그림의 손실, 끝 ÷ 처음"}[lang],
        {"en": "Loss on held-out pictures, end against its lowest", "ko": "따로 둔 그림의 손실, 끝 ÷ 가장 낮은 값"}[lang],
    }  # fmt: skip
    assert quality["share"] is not None
    assert (control["share"], control["said"]) == (None, data["words"]["not_measured"])
    assert 0 < reasoning["share"] < 1  # on record and with reasons, but nothing was compared
    assert [name for name, _ in data["missing"]["control"]] == ["control_fidelity"]
    assert [name for name, _ in data["missing"]["quality"]] == [
        "identity",
        "adherence",
        "diversity",
        "copied",
    ]
    curve = data["training"]["curve"]
    assert pictures[curve][0].startswith(b"\xff\xd8")
    assert [picture.label for picture in facts.pictures] == ["step 0", "step 6", "step 12"]
    why = REASONS["rank"][lang]  # pyright: ignore[reportArgumentType]
    for text in (read_pdf(picture_pdf(facts)).text, picture_html(facts).replace("\u200b", "")):
        for said in (data["words"]["setting_reasons"], why[:24], "0", data["training"]["curve_title"]):
            assert said.replace(" ", "") in text.replace(" ", "").replace("\n", ""), said


def test_settings_say_what_is_default_and_what_was_asked_for(trained: Trained) -> None:
    run, _ = trained.train("settings", steps=2)
    training = gather(run, lang="en").training
    assert training is not None
    said = {name: (value, why) for name, value, why in training.reasons}
    assert said["rank"][0] == "2"
    assert "asked for; the default of latent is 32" in said["rank"][1]
    assert "(the default of latent)" in said["clip_norm"][1]
    assert "ema" not in said  # it is off
    assert len(training.reasons) == training.settings


def test_every_reason_is_of_a_setting_and_in_both_languages() -> None:
    assert set(REASONS) <= set(TrainRequest.model_fields)
    assert all(one["en"] and one["ko"] for one in REASONS.values())
    assert WORDS["en"].keys() == WORDS["ko"].keys()


def test_its_sweep_joins_in_and_gets_out_of_date(trained: Trained) -> None:
    run, output = trained.train("swept")
    planned = plan_sweep(SweepRequest(count=2, seeds=2, steps=2, weights=(0.5, 1.0)), output)
    report = sweep(trained.store, planned)
    deliver(trained.store, report, output)
    facts = gather(run, lang="en")
    names = {score.name for score in facts.scores.whole}
    assert names >= {"identity", "adherence", "diversity", "copied"}
    identity = facts.scores.get("identity")
    assert identity is not None
    assert (identity.value, identity.n) == (report.winner.identity, report.winner.n)
    assert missing(run) == {"control_fidelity": "no_maps"}
    assert len(facts.scores.alternatives) == 4
    assert facts.reason == report.reason_en
    assert any(note.startswith("The sweep's verdict") for note in facts.scores.notes)
    assert [picture.role for picture in facts.pictures][-1] == "page"
    assert read_pdf(picture_pdf(facts)).text
    data, _ = report_data(facts)
    assert {row["name"] for row in data["quality"]["rows"]} >= {"Identity", "Text match", "Diversity"}
    (output / "fox-step00000006.safetensors").unlink()
    assert missing(run)["identity"] == "no_sweep", "checkpoints that it compared are gone"


def test_a_folder_that_holds_another_training_or_none_is_said_to(trained: Trained) -> None:
    run, output = trained.train("moved", steps=2)
    record = json.loads((output / "train.json").read_text())
    record["request"]["lr"] = 0.5
    (output / "train.json").write_text(json.dumps(record))
    facts = gather(run, lang="en")
    assert WORDS["en"]["other"] in facts.scores.notes
    assert missing(run)["loss/seen"] == "no_folder"
    output.rename(output.with_name("elsewhere"))
    facts = gather(run, lang="ko")
    assert missing(run)["loss/held_out"] == "no_folder"
    assert facts.training is not None
    assert facts.training.reasons  # the request is the run's own
    data, _ = report_data(facts)
    assert [part["points"] for part in data["rubric"]][:2] == ["–", "–"]
    assert picture_pdf(facts)
    assert picture_html(facts)


def test_a_training_that_held_nothing_out_says_so(trained: Trained) -> None:
    run, _ = trained.train("all", steps=2, validation=0.0)
    assert missing(run)["loss/held_out"] == "no_validation"
    assert "loss/seen" not in missing(run)


def test_a_damaged_log_is_read_as_far_as_it_goes(trained: Trained) -> None:
    run, output = trained.train("torn")
    path = output / "losses.jsonl"
    path.write_text(path.read_text() + '{"step": 13, "lo' + "\n[1]\n" + "[" * 100_000)
    training = gather(run).training
    assert training is not None
    assert [step for step, _ in training.curve.each] == list(range(1, 13))


def test_odd_curves_are_drawn_or_left_out() -> None:
    assert drawn_curve(Curve(), "en") is None
    assert curve_said(Curve(), "en") == ""
    flat = Curve(seen=((0, 0.0), (5, 0.0)))
    wild = Curve(each=((1, float("nan")), (2, float("inf")), (3, 0.1)), held_out=((0, 1e30), (3, 0.2)))
    for curve in (flat, wild):
        assert drawn_curve(curve, "ko") is not None
    rising = Curve(held_out=((0, 0.5), (50, 0.2), (100, 0.3)))
    assert "lowest 0.2000 at step 50" in curve_said(rising, "en")
