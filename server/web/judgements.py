"""Judgements, calibrations and their history, as they are answered."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import msgspec

from detector.thresholds import Calibration, KSigma, Promise
from server.inspection import Change, Draft, StoredCalibration, Threshold, described, rule_info
from server.web.calibration_bodies import (
    Calibrated,
    FrameBody,
    HistogramBody,
    HistoryEntry,
    JudgementBody,
    MarginBody,
    PromiseBody,
    RecentBody,
    StoredBody,
    SuspectBody,
)
from server.words import RuleInfo


def judgement_body(draft: Draft) -> JudgementBody:
    """All that is to be thought of a draft."""
    judgement, captured, against = draft.judgement, draft.captured, draft.judged_against
    calibration, without = judgement.calibration, judgement.without_suspects
    return JudgementBody(
        rule=_rule(draft),
        parts=len(captured.scores) - len(draft.left_out),
        independent=judgement.independent,
        promise=_promise(calibration),
        no_promise=calibration.no_promise if calibration else None,
        suspects=[
            SuspectBody(one.index, one.score, one.why, _picture(captured.pictures[one.index]))
            for one in judgement.suspects
        ],
        highest=[
            FrameBody(index, captured.scores[index], _picture(captured.pictures[index])) for index in judgement.highest
        ],
        left_out=sorted(draft.left_out),
        known_defects=captured.known_defects,
        histogram=HistogramBody(
            list(judgement.histogram.edges), list(judgement.histogram.captured), list(judgement.histogram.taught)
        ),
        threshold=calibration.threshold if calibration else None,
        threshold_without_suspects=without.threshold if without else None,
        promise_without_suspects=_promise(without),
        no_promise_without_suspects=without.no_promise if without else None,
        in_force=against.value if against.known else None,
        recent=RecentBody(
            judgement.of, judgement.now_rejected, judgement.then_rejected, judgement.then_without_suspects
        ),
        margin=MarginBody(judgement.margin.highest_good, judgement.margin.lowest_defect) if judgement.margin else None,
        refused=judgement.refused,
        warnings=list(judgement.warnings),
    )


def calibrated_body(
    draft: Draft,
    calibration: Calibration | None,
    now: Threshold,
    *,
    name: str | None = None,
    notes: tuple[str, ...] = (),
    when: str | None = None,
) -> Calibrated:
    """What was calibrated, or would be.

    Args:
        calibration: that one; None where none can be made.
        now: the threshold in force there.
        name: of the draft, where it is kept.
        notes: beside the judgement's warnings.
        when: it was put in force, as the history tells it.
    """
    judgement = draft.judgement
    warnings = judgement.warnings if when is None else judgement.warnings_in_force
    return Calibrated(
        new_threshold=calibration.threshold if calibration else None,
        mean_score=calibration.mean if calibration else None,
        std_score=calibration.std if calibration else None,
        n_images=calibration.n_images if calibration else 0,
        k=draft.rule.k if isinstance(draft.rule, KSigma) else None,
        threshold=now.value,
        threshold_source=now.source,
        warning="; ".join((*warnings, *notes)) or None,
        judgement=judgement_body(draft),
        draft=name,
        when=when,
    )


def stored_body(stored: StoredCalibration) -> StoredBody:
    """A calibration as it is stored."""
    return StoredBody(
        **msgspec.structs.asdict(described(stored)),
        k=stored.k,
        n_images=stored.n_images,
        mean_score=stored.mean,
        std_score=stored.std,
        created=stored.created,
    )


def history_entry(change: Change) -> HistoryEntry:
    """One step of the history: what it brought tells its rule."""
    brought = change.after[-1] if change.after else None
    return HistoryEntry(
        when=change.when,
        who=change.who,
        from_=change.was,
        to=change.became,
        why=change.why,
        rule=rule_info(brought.k, brought.one_in) if brought else None,
        n=brought.n_images if brought else None,
        transport=change.transport,
        stream=change.stream,
        action=change.action,
        undone=change.undone,
    )


def in_words(threshold: Threshold) -> str:
    """What is in force, one clause."""
    stored = threshold.calibration
    if not threshold.known:
        return "there is no threshold: every part is an ANOMALY until it is calibrated"
    if threshold.source == "environment":
        return f"THRESHOLD in the environment is in force: {threshold.value:.4g}"
    if stored is None:
        return f"the model's default threshold is in force: {threshold.value:.4g}"
    return f"the calibration of {_minute(stored.created)} by {stored.who} is in force: {threshold.value:.4g}"


def _minute(iso: str) -> str:
    """An ISO 8601 time to the minute; the text itself where it is none."""
    try:
        return datetime.fromisoformat(iso).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return iso


def _rule(draft: Draft) -> RuleInfo:
    return RuleInfo(k=draft.rule.k) if isinstance(draft.rule, KSigma) else RuleInfo(one_in=draft.rule.one_in)


def _promise(calibration: Calibration | None) -> PromiseBody | None:
    promise: Promise | None = calibration.promise if calibration else None
    if promise is None:
        return None
    return PromiseBody(promise.expected, promise.at_most, promise.confidence, promise.sentence, promise.stronger)


def _picture(data: bytes) -> str | None:
    return base64.b64encode(data).decode() if data else None
