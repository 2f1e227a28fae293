"""The lighting study as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from detector.light import KINDS
from training.measure import MIXED, ORIGINAL, TEACHINGS, LightingStudy
from training.reports.markdown import table


def as_markdown(study: LightingStudy) -> str:
    """Two tables: AUROC under each light, and mistakes at the threshold of the original light. "–" is not measured."""
    head = (
        f"## {study.name}\n\n{study.training} pictures to learn from; {study.good} good and {study.defective} "
        f"defective to inspect; input {study.image_size}², {study.coreset_size} patches, severity {study.severity}, "
        f"seed {study.seed}. Light and its noise are simulated."
    )
    lights = (ORIGINAL, *KINDS, MIXED)
    auroc = [
        [teaching, _auroc(study, teaching, [ORIGINAL]), _auroc(study, teaching, KINDS)]
        + [_auroc(study, teaching, [light]) for light in lights[1:]]
        for teaching in TEACHINGS
    ]
    mistakes = [
        [teaching]
        + [_share(study, teaching, lights, escapes) for escapes in (False, True) for lights in _GROUPS.values()]
        for teaching in TEACHINGS
    ]
    return "\n".join(
        [
            head,
            "",
            "Image AUROC",
            "",
            table(["taught", ORIGINAL, "changed (mean)", *lights[1:]], auroc),
            "",
            "False rejects and escapes at the threshold calibrated under the original light",
            "",
            table(["taught", *(f"{what}, {name}" for what in ("rejects", "escapes") for name in _GROUPS)], mistakes),
            "",
        ]
    )


_GROUPS: dict[str, Sequence[str]] = {ORIGINAL: [ORIGINAL], "changed": KINDS, MIXED: [MIXED]}


def _auroc(study: LightingStudy, teaching: str, lights: Sequence[str]) -> str:
    values = [one.image_auroc for light in lights if (one := study.outcome(teaching, light))]
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.3f}" if known and len(known) == len(lights) else "–"


def _share(study: LightingStudy, teaching: str, lights: Sequence[str], escapes: bool) -> str:
    pictures = study.defective if escapes else study.good
    found = [one for light in lights if (one := study.outcome(teaching, light))]
    if len(found) < len(lights) or not pictures:
        return "–"
    wrong = sum(one.escapes if escapes else one.false_rejects for one in found)
    return f"{wrong / (pictures * len(lights)):.1%}"
